// Custom roles for Azure Firewall, additions to the network role. They are made and assigned only
// where firewall scopes are named. Every action has its reason in docs/permissions.md, and a test
// holds them against the calls that are made.
targetScope = 'subscription'

@description('Mark of this installation: role names are unique in a tenant.')
param mark string

@description('Where the roles can be assigned.')
param assignableScopes array

resource reader 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, mark, 'firewall-reader')
  properties: {
    roleName: 'JIT firewall reader (${mark})'
    description: 'Finds the Azure Firewall in front of a VM. Changes nothing.'
    type: 'CustomRole'
    permissions: [
      {
        actions: [
          'Microsoft.Compute/virtualMachines/read'
          'Microsoft.Network/networkInterfaces/read'
          'Microsoft.Network/virtualNetworks/read'
          'Microsoft.Network/routeTables/read'
          'Microsoft.Network/loadBalancers/read'
          'Microsoft.Network/publicIPAddresses/read'
          'Microsoft.Network/azureFirewalls/read'
          'Microsoft.Network/firewallPolicies/read'
          'Microsoft.Network/firewallPolicies/firewallPolicyDrafts/read'
          'Microsoft.Network/firewallPolicies/ruleCollectionGroups/read'
          'Microsoft.Network/ipGroups/read'
        ]
        notActions: []
      }
    ]
    assignableScopes: assignableScopes
  }
}

resource policy 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, mark, 'firewall-policy')
  properties: {
    roleName: 'JIT firewall policy (${mark})'
    description: 'Writes rule collection groups of firewall policies, and nothing else.'
    type: 'CustomRole'
    permissions: [
      {
        actions: [
          'Microsoft.Network/firewallPolicies/ruleCollectionGroups/write'
          'Microsoft.Network/firewallPolicies/ruleCollectionGroups/delete'
        ]
        notActions: []
      }
    ]
    assignableScopes: assignableScopes
  }
}

// No hook assigns it: give it to the network identity on the single IP groups of this installation.
resource ipGroups 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, mark, 'firewall-ip-groups')
  properties: {
    roleName: 'JIT IP groups (${mark})'
    description: 'Writes the addresses and tags of IP groups. Assign it on the groups of this installation alone.'
    type: 'CustomRole'
    permissions: [
      {
        actions: [
          'Microsoft.Network/ipGroups/write'
        ]
        notActions: []
      }
    ]
    assignableScopes: assignableScopes
  }
}

// Power over everything on a firewall: assigned only at the classic scopes that were named.
resource classic 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, mark, 'firewall-classic')
  properties: {
    roleName: 'JIT classic firewall (${mark})'
    description: 'Writes whole firewalls with classic rules. Opt-in, at single firewalls.'
    type: 'CustomRole'
    permissions: [
      {
        actions: [
          'Microsoft.Network/azureFirewalls/write'
          'Microsoft.Network/publicIPAddresses/join/action'
          'Microsoft.Network/virtualNetworks/subnets/join/action'
          'Microsoft.Network/ipGroups/join/action'
        ]
        notActions: []
      }
    ]
    assignableScopes: assignableScopes
  }
}

output readerRoleName string = reader.name
output policyRoleName string = policy.name
output classicRoleName string = classic.name
