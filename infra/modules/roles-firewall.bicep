// Custom roles for Azure Firewall, as additions: nothing assigns them unless it is asked for.
// What each provider needs and why is in docs/azure-firewall.md.
targetScope = 'subscription'

@description('Mark of this installation: role names are unique in a tenant.')
param mark string

@description('Where the roles can be assigned.')
param assignableScopes array

@description('Make the role that may write whole firewalls, for classic rules. It is power over everything on them.')
param classic bool = false

var reads = [
  'Microsoft.Compute/virtualMachines/read'
  'Microsoft.Network/networkInterfaces/read'
  'Microsoft.Network/virtualNetworks/read'
  'Microsoft.Network/virtualNetworks/subnets/read'
  'Microsoft.Network/routeTables/read'
  'Microsoft.Network/loadBalancers/read'
  'Microsoft.Network/publicIPAddresses/read'
  'Microsoft.Network/azureFirewalls/read'
  'Microsoft.Network/firewallPolicies/read'
  'Microsoft.Network/firewallPolicies/ruleCollectionGroups/read'
  'Microsoft.Network/firewallPolicies/firewallPolicyDrafts/read'
  'Microsoft.Network/ipGroups/read'
]

resource policy 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, mark, 'firewall-policy')
  properties: {
    roleName: 'JIT firewall policy (${mark})'
    description: 'Finds the firewall before a VM and writes rule collection groups of its policy.'
    type: 'CustomRole'
    permissions: [
      {
        actions: concat(reads, [
          'Microsoft.Network/firewallPolicies/ruleCollectionGroups/write'
          'Microsoft.Network/firewallPolicies/ruleCollectionGroups/delete'
        ])
        notActions: []
      }
    ]
    assignableScopes: assignableScopes
  }
}

resource ipGroups 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, mark, 'firewall-ip-groups')
  properties: {
    roleName: 'JIT IP groups (${mark})'
    description: 'Finds the firewall before a VM and writes the addresses of IP groups. Assign its writes on those groups alone.'
    type: 'CustomRole'
    permissions: [
      {
        actions: concat(reads, ['Microsoft.Network/ipGroups/write'])
        notActions: []
      }
    ]
    assignableScopes: assignableScopes
  }
}

resource firewalls 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (classic) {
  name: guid(subscription().id, mark, 'firewall-classic')
  properties: {
    roleName: 'JIT classic firewall (${mark})'
    description: 'Writes whole firewalls with classic rules. Opt-in, on single firewalls.'
    type: 'CustomRole'
    permissions: [
      {
        actions: concat(reads, [
          'Microsoft.Network/azureFirewalls/write'
          'Microsoft.Network/publicIPAddresses/join/action'
          'Microsoft.Network/virtualNetworks/subnets/join/action'
          'Microsoft.Network/ipGroups/join/action'
        ])
        notActions: []
      }
    ]
    assignableScopes: assignableScopes
  }
}

output policyRoleId string = policy.id
output ipGroupRoleId string = ipGroups.id
output classicRoleId string = classic ? firewalls.id : ''
