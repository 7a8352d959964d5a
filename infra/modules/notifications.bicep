// The notification sample: a Logic App (Consumption) that posts the app's CloudEvents in a Teams or Slack
// channel. It holds no right on anything of the app. docs/notifications.md tells how to finish the connection.
@description('Region.')
param location string

@description('Tags of every resource.')
param tags object

@description('Unique part of names.')
param token string

@description('teams or slack.')
param channel string

@description('Object id of the team with the channel (teams).')
param teamsGroupId string

@description('Id of the channel in Teams, or name of the channel in Slack.')
param target string

@description('Types of notifications that are posted.')
param types array

@description('Address of the page, to which messages link. Empty: it is not set up.')
param pageUrl string

@description('Client id of the app registration: the audience in version 2 tokens.')
param clientId string

@description('Object id of the host identity, the only one that may start the workflow.')
param hostPrincipalId string

@description('Workspace that receives the runs.')
param workspaceId string

var issuer = '${environment().authentication.loginEndpoint}${tenant().tenantId}/v2.0'
var connectionName = 'con-jit-notify-${channel}-${token}'
// A trigger's signed address would need no token, so it is off.
var hostOnly = {
  sasAuthenticationPolicy: {
    state: 'Disabled'
  }
  openAuthenticationPolicies: {
    policies: {
      host: {
        type: 'AAD'
        claims: [
          {
            name: 'iss'
            value: issuer
          }
          {
            name: 'aud'
            value: clientId
          }
          {
            name: 'oid'
            value: hostPrincipalId
          }
        ]
      }
    }
  }
}
var api = '${subscription().id}/providers/Microsoft.Web/locations/${location}/managedApis/${channel}'
var connected = {
  id: api
  connectionId: resourceId('Microsoft.Web/connections', connectionName)
  connectionName: connectionName
}

// A person has to sign in once, in the portal: a connector's consent cannot be deployed.
resource connection 'Microsoft.Web/connections@2016-06-01' = {
  name: connectionName
  location: location
  tags: tags
  properties: {
    displayName: 'JIT notifications (${channel})'
    api: {
      id: api
    }
  }
}

resource notifications 'Microsoft.Logic/workflows@2019-05-01' = {
  name: 'logic-jit-notifications-${token}'
  location: location
  tags: tags
  properties: {
    state: 'Enabled'
    definition: loadJsonContent('../workflows/notifications.json')
    parameters: {
      '$connections': {
        value: channel == 'teams' ? { teams: connected } : { slack: connected }
      }
      channel: {
        value: channel
      }
      target: {
        value: target
      }
      teamsGroupId: {
        value: teamsGroupId
      }
      types: {
        value: types
      }
      pageUrl: {
        value: pageUrl
      }
    }
    accessControl: {
      triggers: hostOnly
    }
  }
  dependsOn: [
    connection
  ]
}

resource runs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'jit'
  scope: notifications
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'WorkflowRuntime'
        enabled: true
      }
    ]
  }
}

// Without the signature of a callback URL: the token is the only way in that the app uses.
output triggerUrl string = '${notifications.properties.accessEndpoint}/triggers/event/paths/invoke?api-version=2016-10-01'
