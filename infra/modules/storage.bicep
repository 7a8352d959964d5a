// The host's storage, the app's rows and its queues. No shared keys: a client that can write these
// tables can open ports, so the only way in is a role, and the only holder of one is the host. It holds
// each on one container, queue or table: a stolen token of the host reaches nothing beside them.
@description('Region.')
param location string

@description('Tags of every resource.')
param tags object

@description('Unique part of names.')
param token string

@description('Redundancy.')
param sku string

@description('Close the public endpoint: only private endpoints answer then.')
param isPrivate bool

@description('Object id of the host identity.')
param hostPrincipalId string

// The same names as in shared/adapters/tables.py and queues.py; a test compares them.
var tableNames = ['policies', 'requests', 'firewalls', 'due', 'activity']
var queueNames = ['jit-requests', 'jit-firewalls', 'jit-policies', 'jit-notices']
var poisonNames = ['jit-requests-poison', 'jit-firewalls-poison', 'jit-policies-poison', 'jit-notices-poison']
// The host keeps leases and schedules in the first, and its keys in the second.
var containerNames = ['azure-webjobs-hosts', 'azure-webjobs-secrets']
var allQueueNames = concat(queueNames, poisonNames)
var blobDataOwner = 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'
var queueDataContributor = '974c5e8b-45b9-4653-ba55-5f855dd0fb88'
var tableDataContributor = '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3'

resource account 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  // checkov:skip=CKV_AZURE_35: without a virtual network the app reaches its account over the public endpoint; no key exists, only roles open it
  // checkov:skip=CKV_AZURE_59: public access to blobs is off and shared keys are off; the endpoint itself has to be reachable
  // checkov:skip=CKV_AZURE_206: the parameter's default is zone redundant, which the check cannot resolve
  // checkov:skip=CKV_AZURE_43: the name is stjit and thirteen letters or digits, which the check cannot resolve
  name: 'stjit${token}'
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: sku
  }
  properties: {
    accessTier: 'Hot'
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
    supportsHttpsTrafficOnly: true
    networkAcls: {
      bypass: isPrivate ? 'None' : 'AzureServices'
      defaultAction: isPrivate ? 'Deny' : 'Allow'
    }
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2023-05-01' = {
  parent: account
  name: 'default'
  properties: {
    containerDeleteRetentionPolicy: {
      enabled: true
      days: 7
    }
    deleteRetentionPolicy: {
      enabled: true
      days: 7
    }
  }
}

resource containers 'Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01' = [for name in containerNames: {
  parent: blobs
  name: name
  properties: {
    publicAccess: 'None'
  }
}]

resource tables 'Microsoft.Storage/storageAccounts/tableServices/tables@2023-05-01' = [for name in tableNames: {
  name: '${account.name}/default/${name}'
}]

resource queues 'Microsoft.Storage/storageAccounts/queueServices/queues@2023-05-01' = [for name in allQueueNames: {
  name: '${account.name}/default/${name}'
}]

resource hostBlobs 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (name, i) in containerNames: {
  name: guid(containers[i].id, hostPrincipalId, blobDataOwner)
  scope: containers[i]
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', blobDataOwner)
    principalId: hostPrincipalId
    principalType: 'ServicePrincipal'
  }
}]

resource hostQueues 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (name, i) in allQueueNames: {
  name: guid(queues[i].id, hostPrincipalId, queueDataContributor)
  scope: queues[i]
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', queueDataContributor)
    principalId: hostPrincipalId
    principalType: 'ServicePrincipal'
  }
}]

resource hostTables 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (name, i) in tableNames: {
  name: guid(tables[i].id, hostPrincipalId, tableDataContributor)
  scope: tables[i]
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', tableDataContributor)
    principalId: hostPrincipalId
    principalType: 'ServicePrincipal'
  }
}]

output accountName string = account.name
output blobEndpoint string = account.properties.primaryEndpoints.blob
output queueEndpoint string = account.properties.primaryEndpoints.queue
output tableEndpoint string = account.properties.primaryEndpoints.table
