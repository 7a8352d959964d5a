// Identities, so that no part can do another part's work: the host and its storage, the reader of
// role assignments, the writer of rules, the workflow that carries decisions, the writer of the package,
// the reader for reports where one is asked for, and the independent closer. The writer of rules can
// be several, which share its calls.
@description('Region.')
param location string

@description('Tags of every resource.')
param tags object

@description('Unique part of names.')
param token string

@description('How many identities read VMs and write rules. ARM counts calls for each.')
@minValue(1)
@maxValue(4)
param networkIdentities int

@description('Make an identity that reads for reports, in a quota of its own, and writes nothing.')
param readerIdentity bool

resource host 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: 'id-jit-host-${token}'
  location: location
  tags: tags
}

resource authorizer 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: 'id-jit-authorizer-${token}'
  location: location
  tags: tags
}

resource network 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: 'id-jit-network-${token}'
  location: location
  tags: tags
}

resource moreNetwork 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = [for number in range(2, networkIdentities - 1): {
  name: 'id-jit-network-${number}-${token}'
  location: location
  tags: tags
}]

resource reader 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = [for number in range(0, readerIdentity ? 1 : 0): {
  name: 'id-jit-reader-${token}'
  location: location
  tags: tags
}]

resource relay 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: 'id-jit-relay-${token}'
  location: location
  tags: tags
}

resource deployer 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: 'id-jit-deployer-${token}'
  location: location
  tags: tags
}

resource closer 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: 'id-jit-closer-${token}'
  location: location
  tags: tags
}

output deployerIdentityId string = deployer.id
output deployerPrincipalId string = deployer.properties.principalId
output closerIdentityId string = closer.id
output closerPrincipalId string = closer.properties.principalId
output hostIdentityId string = host.id
output hostClientId string = host.properties.clientId
output hostPrincipalId string = host.properties.principalId
output authorizerIdentityId string = authorizer.id
output authorizerClientId string = authorizer.properties.clientId
output authorizerPrincipalId string = authorizer.properties.principalId
output networkIdentityId string = network.id
output networkClientId string = network.properties.clientId
output networkPrincipalId string = network.properties.principalId
output moreNetworkIdentityIds array = [for index in range(0, networkIdentities - 1): moreNetwork[index].id]
output moreNetworkClientIds array = [for index in range(0, networkIdentities - 1): moreNetwork[index].properties.clientId]
output moreNetworkPrincipalIds array = [for index in range(0, networkIdentities - 1): moreNetwork[index].properties.principalId]
output readerIdentityIds array = [for index in range(0, readerIdentity ? 1 : 0): reader[index].id]
output readerClientIds array = [for index in range(0, readerIdentity ? 1 : 0): reader[index].properties.clientId]
output readerPrincipalIds array = [for index in range(0, readerIdentity ? 1 : 0): reader[index].properties.principalId]
output relayClientId string = relay.properties.clientId
output relayIdentityId string = relay.id
output relayPrincipalId string = relay.properties.principalId
