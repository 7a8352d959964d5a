// The app's registration in Entra: who a token is for, and the roles it can carry. In a file of
// its own because it goes to Microsoft Graph, needs other rights than the rest (docs/deploy.md),
// and can be made by hand instead (createAppRegistration=false).
extension microsoftGraphV1

@description('Name shown to people.')
param displayName string

@description('Key by which a redeployment finds the registration again.')
param uniqueName string

@description('Audience that callers ask a token for.')
param idUri string

@description('Client ids that may ask for a token without consent.')
param preAuthorizedClients array

var scopeId = guid(uniqueName, 'user_impersonation')
// Each role's id is derived from its name, so that a redeployment changes none.
var roles = [
  {
    value: 'Jit.Request'
    name: 'Request access'
    text: 'Ask for just-in-time access to any VM within the deployment\'s scopes.'
  }
  {
    value: 'Jit.Approve'
    name: 'Approve access'
    text: 'Approve or deny other people\'s requests.'
  }
  {
    value: 'Jit.Admin'
    name: 'Administer policies'
    text: 'Write policies, revoke anybody\'s access, read the activity.'
  }
  {
    value: 'Jit.Read'
    name: 'Read everything'
    text: 'Read policies, requests and activity.'
  }
  {
    value: 'Jit.BreakGlass'
    name: 'Break glass'
    text: 'Open a port without approval, with a reason; announced loudly.'
  }
  {
    value: 'Jit.Relay'
    name: 'Relay for people'
    text: 'Carry a named person\'s request or decision; holds no decision of its own.'
  }
]

resource registration 'Microsoft.Graph/applications@v1.0' = {
  displayName: displayName
  uniqueName: uniqueName
  signInAudience: 'AzureADMyOrg'
  identifierUris: [idUri]
  api: {
    requestedAccessTokenVersion: 2
    oauth2PermissionScopes: [
      {
        id: scopeId
        value: 'user_impersonation'
        type: 'User'
        isEnabled: true
        adminConsentDisplayName: 'Use just-in-time VM access as the signed-in person'
        adminConsentDescription: 'Lets a client call the API for the person who is signed in, with that person\'s rights.'
        userConsentDisplayName: 'Use just-in-time VM access for you'
        userConsentDescription: 'Lets the client call the API for you, with your rights.'
      }
    ]
    preAuthorizedApplications: [for client in preAuthorizedClients: {
      appId: client
      delegatedPermissionIds: [scopeId]
    }]
  }
  appRoles: [for role in roles: {
    id: guid(uniqueName, role.value)
    value: role.value
    displayName: role.name
    description: role.text
    allowedMemberTypes: ['User', 'Application']
    isEnabled: true
  }]
  optionalClaims: {
    accessToken: [
      {
        name: 'idtyp'
        essential: false
        additionalProperties: ['include_user_token']
      }
    ]
  }
}

resource principal 'Microsoft.Graph/servicePrincipals@v1.0' = {
  appId: registration.appId
  appRoleAssignmentRequired: false
}

output clientId string = registration.appId
output idUri string = idUri
output principalId string = principal.id
