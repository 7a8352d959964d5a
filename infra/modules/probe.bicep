// An empty NSG that fronts nothing. Daily the app sends it a write whose etag cannot match: only a
// 412 proves that whole-group writes are safe here. The role is assigned on this group alone,
// because the app's own resource group need not lie in JIT_SCOPES.
@description('Region.')
param location string

@description('Tags of every resource.')
param tags object

@description('Unique part of names.')
param token string

@description('Object ids of the network identities.')
param networkPrincipalIds array

@description('Name (a GUID) of the network role.')
param networkRoleName string

resource nsg 'Microsoft.Network/networkSecurityGroups@2024-05-01' = {
  name: 'nsg-jit-probe-${token}'
  location: location
  tags: tags
  properties: {
    securityRules: []
  }
}

resource network 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for networkPrincipalId in networkPrincipalIds: {
  name: guid(nsg.id, networkPrincipalId, networkRoleName)
  scope: nsg
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', networkRoleName)
    principalId: networkPrincipalId
    principalType: 'ServicePrincipal'
  }
}]

output nsgId string = nsg.id
