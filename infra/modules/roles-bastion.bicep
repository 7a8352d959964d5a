// A custom role for the live sessions of Azure Bastion, an addition to the network role. It is made
// and assigned only where disconnectBastionSessions is on. Every action has its reason in
// docs/permissions.md, and a test holds them against the calls that are made.
targetScope = 'subscription'

@description('Mark of this installation: role names are unique in a tenant.')
param mark string

@description('Where the role can be assigned.')
param assignableScopes array

resource sessions 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, mark, 'bastion-sessions')
  properties: {
    roleName: 'JIT Bastion sessions (${mark})'
    description: 'Lists and disconnects the live sessions of Bastion hosts. Opens nothing.'
    type: 'CustomRole'
    permissions: [
      {
        actions: [
          'Microsoft.Network/bastionHosts/getActiveSessions/action'
          'Microsoft.Network/bastionHosts/disconnectActiveSessions/action'
          'Microsoft.Network/locations/operationResults/read'
        ]
        notActions: []
      }
    ]
    assignableScopes: assignableScopes
  }
}

output roleName string = sessions.name
