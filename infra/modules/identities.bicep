// Four identities, so that no part can do another part's work: the host and its storage, the
// reader of role assignments, the writer of rules, and the workflow that carries decisions.
@description('Region.')
param location string

@description('Tags of every resource.')
param tags object

@description('Unique part of names.')
param token string

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

resource relay 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: 'id-jit-relay-${token}'
  location: location
  tags: tags
}

output hostIdentityId string = host.id
output hostClientId string = host.properties.clientId
output hostPrincipalId string = host.properties.principalId
output authorizerIdentityId string = authorizer.id
output authorizerClientId string = authorizer.properties.clientId
output authorizerPrincipalId string = authorizer.properties.principalId
output networkIdentityId string = network.id
output networkClientId string = network.properties.clientId
output networkPrincipalId string = network.properties.principalId
output relayClientId string = relay.properties.clientId
output relayIdentityId string = relay.id
output relayPrincipalId string = relay.properties.principalId
