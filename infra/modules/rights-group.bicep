// What the app's two ARM identities may do in a resource group of JIT_SCOPES.
@description('Object id of the network identity.')
param networkPrincipalId string

@description('Object id of the authorizer identity.')
param authorizerPrincipalId string

@description('Name (a GUID) of the network role.')
param networkRoleName string

@description('Name (a GUID) of the authorizer role.')
param authorizerRoleName string

resource network 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(resourceGroup().id, networkPrincipalId, networkRoleName)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', networkRoleName)
    principalId: networkPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource authorizer 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(resourceGroup().id, authorizerPrincipalId, authorizerRoleName)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', authorizerRoleName)
    principalId: authorizerPrincipalId
    principalType: 'ServicePrincipal'
  }
}
