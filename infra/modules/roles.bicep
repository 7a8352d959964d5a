// Custom roles: three for the app's identities at Azure, one narrower, one for the independent closer,
// four for people. Every action has its reason in docs/permissions.md, and a test holds each against
// the calls that are made.
targetScope = 'subscription'

@description('Mark of this installation: role names are unique in a tenant.')
param mark string

@description('Where the roles can be assigned.')
param assignableScopes array

resource network 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, mark, 'network')
  properties: {
    roleName: 'JIT network (${mark})'
    description: 'Finds the NSGs in front of a VM and writes their rules, whole groups guarded by an etag.'
    type: 'CustomRole'
    permissions: [
      {
        actions: [
          'Microsoft.Compute/virtualMachines/read'
          'Microsoft.Network/networkInterfaces/read'
          'Microsoft.Network/virtualNetworks/read'
          'Microsoft.Network/virtualNetworks/subnets/read'
          'Microsoft.Network/bastionHosts/read'
          'Microsoft.Network/loadBalancers/read'
          'Microsoft.Network/networkSecurityGroups/read'
          'Microsoft.Network/networkSecurityGroups/write'
          'Microsoft.Network/networkSecurityGroups/securityRules/read'
          'Microsoft.Network/networkSecurityGroups/securityRules/write'
          'Microsoft.Network/networkSecurityGroups/securityRules/delete'
          'Microsoft.Network/applicationSecurityGroups/joinNetworkSecurityRule/action'
        ]
        notActions: []
      }
    ]
    assignableScopes: assignableScopes
  }
}

resource networkRules 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, mark, 'network-rules')
  properties: {
    roleName: 'JIT network, rules only (${mark})'
    description: 'Finds the NSGs in front of a VM and writes single rules (JIT_NSG_WRITE=rules).'
    type: 'CustomRole'
    permissions: [
      {
        actions: [
          'Microsoft.Compute/virtualMachines/read'
          'Microsoft.Network/networkInterfaces/read'
          'Microsoft.Network/virtualNetworks/read'
          'Microsoft.Network/virtualNetworks/subnets/read'
          'Microsoft.Network/bastionHosts/read'
          'Microsoft.Network/loadBalancers/read'
          'Microsoft.Network/networkSecurityGroups/read'
          'Microsoft.Network/networkSecurityGroups/securityRules/read'
          'Microsoft.Network/networkSecurityGroups/securityRules/write'
          'Microsoft.Network/networkSecurityGroups/securityRules/delete'
        ]
        notActions: []
      }
    ]
    assignableScopes: assignableScopes
  }
}

resource reader 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, mark, 'reader')
  properties: {
    roleName: 'JIT reader (${mark})'
    description: 'Lists VMs and what stands in front of them, for reports. Changes nothing.'
    type: 'CustomRole'
    permissions: [
      {
        actions: [
          'Microsoft.Compute/virtualMachines/read'
          'Microsoft.Network/networkInterfaces/read'
          'Microsoft.Network/virtualNetworks/read'
          'Microsoft.Network/virtualNetworks/subnets/read'
          'Microsoft.Network/bastionHosts/read'
          'Microsoft.Network/loadBalancers/read'
          'Microsoft.Network/networkSecurityGroups/read'
        ]
        notActions: []
      }
    ]
    assignableScopes: assignableScopes
  }
}

resource authorizer 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, mark, 'authorizer')
  properties: {
    roleName: 'JIT authorizer (${mark})'
    description: 'Reads who holds which role, and what is denied to whom. Changes nothing.'
    type: 'CustomRole'
    permissions: [
      {
        actions: [
          'Microsoft.Authorization/roleAssignments/read'
          'Microsoft.Authorization/roleDefinitions/read'
          'Microsoft.Authorization/denyAssignments/read'
        ]
        notActions: []
      }
    ]
    assignableScopes: assignableScopes
  }
}

// Nothing can be opened with it. RBAC knows no names of rules, so it can delete anybody's: SECURITY.md.
resource closer 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, mark, 'closer')
  properties: {
    roleName: 'JIT closer (${mark})'
    description: 'Reads security groups and deletes single rules: the independent closer.'
    type: 'CustomRole'
    permissions: [
      {
        actions: [
          'Microsoft.Network/networkSecurityGroups/read'
          'Microsoft.Network/networkSecurityGroups/securityRules/read'
          'Microsoft.Network/networkSecurityGroups/securityRules/delete'
        ]
        notActions: []
      }
    ]
    assignableScopes: assignableScopes
  }
}

resource requestor 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, mark, 'requestor')
  properties: {
    roleName: 'JIT requestor (${mark})'
    description: 'Asks for just-in-time access to VMs; Defender\'s own least-privilege role.'
    type: 'CustomRole'
    permissions: [
      {
        actions: [
          'Microsoft.Security/locations/jitNetworkAccessPolicies/initiate/action'
          'Microsoft.Security/locations/jitNetworkAccessPolicies/*/read'
          'Microsoft.Compute/virtualMachines/read'
          'Microsoft.Network/networkInterfaces/*/read'
          'Microsoft.Network/publicIPAddresses/read'
        ]
        notActions: []
      }
    ]
    assignableScopes: assignableScopes
  }
}

// Azure refuses a custom role that names an action none of its providers has, such as our own
// approve/action. A wildcard that also meets Defender's initiate/action is accepted; taking that
// one away again leaves what only this app knows: approve and revoke.
resource approver 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, mark, 'approver')
  properties: {
    roleName: 'JIT approver (${mark})'
    description: 'Approves, denies and revokes other people\'s just-in-time access; cannot ask for any.'
    type: 'CustomRole'
    permissions: [
      {
        actions: [
          'Microsoft.Security/locations/jitNetworkAccessPolicies/read'
          'Microsoft.Security/locations/jitNetworkAccessPolicies/*/action'
          'Microsoft.Compute/virtualMachines/read'
        ]
        notActions: [
          'Microsoft.Security/locations/jitNetworkAccessPolicies/initiate/action'
        ]
      }
    ]
    assignableScopes: assignableScopes
  }
}

resource policyAdmin 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, mark, 'policy-admin')
  properties: {
    roleName: 'JIT policy administrator (${mark})'
    description: 'Writes just-in-time policies; cannot ask for access nor approve it.'
    type: 'CustomRole'
    permissions: [
      {
        actions: [
          'Microsoft.Security/locations/jitNetworkAccessPolicies/read'
          'Microsoft.Security/locations/jitNetworkAccessPolicies/write'
          'Microsoft.Security/locations/jitNetworkAccessPolicies/delete'
          'Microsoft.Compute/virtualMachines/read'
        ]
        notActions: []
      }
    ]
    assignableScopes: assignableScopes
  }
}

// Our own jitNetworkAccessActivities/read is no action that Azure knows either: the narrowest
// wildcard that meets it and something of Defender's.
resource auditor 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, mark, 'auditor')
  properties: {
    roleName: 'JIT auditor (${mark})'
    description: 'Reads policies, activity and the rules that stand on NSGs. Changes nothing.'
    type: 'CustomRole'
    permissions: [
      {
        actions: [
          'Microsoft.Security/locations/jitNetworkAccessPolicies/read'
          'Microsoft.Security/locations/*/read'
          'Microsoft.Compute/virtualMachines/read'
          'Microsoft.Network/networkSecurityGroups/read'
          'Microsoft.Network/networkSecurityGroups/securityRules/read'
        ]
        notActions: []
      }
    ]
    assignableScopes: assignableScopes
  }
}

output networkRoleName string = network.name
output networkRulesRoleName string = networkRules.name
output readerRoleName string = reader.name
output authorizerRoleName string = authorizer.name
output closerRoleName string = closer.name
output requestorRoleName string = requestor.name
output approverRoleName string = approver.name
output policyAdminRoleName string = policyAdmin.name
output auditorRoleName string = auditor.name
