// The registration with which the page signs people in: a public client, with no secret and no role.
// It goes to Microsoft Graph, like the app's own (app-registration.bicep), which allows it.
extension microsoftGraphV1

@description('Name shown to people.')
param displayName string

@description('Key by which a redeployment finds the registration again.')
param uniqueName string

@description('Address of the page: the only one to which a sign-in leads back.')
param redirectUri string

resource registration 'Microsoft.Graph/applications@v1.0' = {
  displayName: displayName
  uniqueName: uniqueName
  signInAudience: 'AzureADMyOrg'
  spa: {
    redirectUris: [redirectUri]
  }
}

// Entra signs people in only to an application that has a principal in the tenant.
resource principal 'Microsoft.Graph/servicePrincipals@v1.0' = {
  appId: registration.appId
  appRoleAssignmentRequired: false
}

output clientId string = registration.appId
