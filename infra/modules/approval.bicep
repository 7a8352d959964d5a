// The approval workflow and the front-door sample: Logic Apps (Consumption) from the definitions in
// infra/workflows. Neither decides anything: who may approve what is checked by the app, which is
// also why losing a workflow opens nothing. docs/logic-apps.md tells how to finish the connections.
@description('Region.')
param location string

@description('Tags of every resource.')
param tags object

@description('Unique part of names.')
param token string

@description('none, outlook or teams.')
param channel string

@description('Mailbox or group that is asked.')
param approverMail string

@description('Team that is asked.')
param teamsGroupId string

@description('Channel that is asked.')
param teamsChannelId string

@description('Deploy the front-door sample too.')
param deployFrontDoor bool

@description('Where the app is.')
param apiUrl string

@description('Address of the page, to which mails and cards link. Empty: it is not set up.')
param pageUrl string

@description('Client id of the app registration: the audience in version 2 tokens.')
param clientId string

@description('Application id URI: what the workflows ask a token for.')
param idUri string

@description('Object id of the host identity, the only one that may start the approval workflow.')
param hostPrincipalId string

@description('Resource id of the identity with Jit.Relay.')
param relayIdentityId string

@description('Workspace that receives the runs.')
param workspaceId string

var tenantId = tenant().tenantId
var issuer = '${environment().authentication.loginEndpoint}${tenantId}/v2.0'
var apis = '${subscription().id}/providers/Microsoft.Web/locations/${location}/managedApis'
var connectionNames = channel == 'outlook' ? ['office365', 'office365users'] : channel == 'teams' ? ['teams'] : []
// Who may start each workflow. A trigger's signed address would need no token, so it is off: the
// front door takes the person from the token that its trigger has checked.
var hostOnly = {
  sasAuthenticationPolicy: {
    state: 'Disabled'
  }
  // The host's token is for our own API, not for ARM: a workflow that leaked it would leak
  // nothing that opens a port.
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
var peopleOnly = {
  sasAuthenticationPolicy: {
    state: 'Disabled'
  }
  openAuthenticationPolicies: {
    policies: {
      people: {
        type: 'AAD'
        claims: [
          {
            // Only tokens of signed-in people carry a scope.
            name: 'scp'
            value: 'user_impersonation'
          }
          {
            name: 'iss'
            value: issuer
          }
          {
            name: 'aud'
            value: clientId
          }
        ]
      }
    }
  }
}
// An identity in an action is checked when the workflow is saved, so it cannot be a parameter.
var approvalDefinition = json(replace(string(loadJsonContent('../workflows/approval.json')), '{relayIdentity}', relayIdentityId))
var frontDoorDefinition = json(replace(string(loadJsonContent('../workflows/front-door.json')), '{relayIdentity}', relayIdentityId))
var outlookConnections = {
  office365: {
    id: '${apis}/office365'
    connectionId: resourceId('Microsoft.Web/connections', 'con-jit-office365-${token}')
    connectionName: 'con-jit-office365-${token}'
  }
  office365users: {
    id: '${apis}/office365users'
    connectionId: resourceId('Microsoft.Web/connections', 'con-jit-office365users-${token}')
    connectionName: 'con-jit-office365users-${token}'
  }
}
var teamsConnections = {
  teams: {
    id: '${apis}/teams'
    connectionId: resourceId('Microsoft.Web/connections', 'con-jit-teams-${token}')
    connectionName: 'con-jit-teams-${token}'
  }
}
var workflowParameters = {
  '$connections': {
    value: channel == 'outlook' ? outlookConnections : channel == 'teams' ? teamsConnections : {}
  }
  apiUrl: {
    value: apiUrl
  }
  audience: {
    value: idUri
  }
  channel: {
    value: channel
  }
  approverMail: {
    value: approverMail
  }
  teamsGroupId: {
    value: teamsGroupId
  }
  teamsChannelId: {
    value: teamsChannelId
  }
}

// A person has to sign in to each once, in the portal: a connector's consent cannot be deployed.
resource connections 'Microsoft.Web/connections@2016-06-01' = [for name in connectionNames: {
  name: 'con-jit-${name}-${token}'
  location: location
  tags: tags
  properties: {
    displayName: 'JIT approvals (${name})'
    api: {
      id: '${apis}/${name}'
    }
  }
}]

resource approval 'Microsoft.Logic/workflows@2019-05-01' = {
  name: 'logic-jit-approval-${token}'
  location: location
  tags: tags
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${relayIdentityId}': {}
    }
  }
  properties: {
    state: 'Enabled'
    definition: approvalDefinition
    parameters: union(workflowParameters, {
      pageUrl: {
        value: pageUrl
      }
    })
    accessControl: {
      triggers: hostOnly
    }
  }
  dependsOn: [
    connections
  ]
}

resource frontDoor 'Microsoft.Logic/workflows@2019-05-01' = if (deployFrontDoor) {
  name: 'logic-jit-front-door-${token}'
  location: location
  tags: tags
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${relayIdentityId}': {}
    }
  }
  properties: {
    state: 'Enabled'
    definition: frontDoorDefinition
    parameters: workflowParameters
    accessControl: {
      triggers: peopleOnly
    }
  }
  dependsOn: [
    connections
  ]
}

resource approvalRuns 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'jit'
  scope: approval
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

output workflowName string = approval.name
// Without the signature of a callback URL: the token is the only way in that the app uses.
output triggerUrl string = '${approval.properties.accessEndpoint}/triggers/notice/paths/invoke?api-version=2016-10-01'
