// Assigns the app's roles in Entra. Nothing waits for this module, because Graph refuses an identity
// that was made moments ago until it is known everywhere: the next run assigns what this one could not.
extension microsoftGraphV1

@description('Key of the registration; each role id is derived from it.')
param uniqueName string

@description('Object id of the registration\'s service principal.')
param servicePrincipalId string

@description('Object id that becomes Jit.Admin. Empty: none does.')
param adminPrincipalId string

@description('Object id of the identity that carries decisions from the workflows.')
param relayPrincipalId string

resource admin 'Microsoft.Graph/appRoleAssignedTo@v1.0' = if (!empty(adminPrincipalId)) {
  appRoleId: guid(uniqueName, 'Jit.Admin')
  principalId: adminPrincipalId
  resourceId: servicePrincipalId
}

resource relay 'Microsoft.Graph/appRoleAssignedTo@v1.0' = {
  appRoleId: guid(uniqueName, 'Jit.Relay')
  principalId: relayPrincipalId
  resourceId: servicePrincipalId
}
