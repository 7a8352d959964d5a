// The deployed package, apart from the app's state: an account of its own, which the host's identity
// cannot reach. The deployer's identity writes the package here, and the platform reads it with the same
// one. Code that runs in the app can obtain that identity's token too (SECURITY.md); hence the alerts.
@description('Region.')
param location string

@description('Tags of every resource.')
param tags object

@description('Unique part of names.')
param token string

@description('Mark of this installation.')
param mark string

@description('Redundancy. A new instance of the app needs this account to start.')
param sku string

@description('Close the public endpoint: only private endpoints answer then.')
param isPrivate bool

@description('Object id of the deployer identity, which is for this container alone.')
param deployerPrincipalId string

@description('Workspace that receives the log of writes.')
param workspaceId string

@description('Resource id of the action group. Empty: alerts fire and notify no address.')
param actionGroupId string

var accountName = 'stjitpkg${token}'
var blobDataContributor = 'ba92f5b4-2d11-453d-a403-e96b0029c9fe'

// The last word of a query is what fires: any row is an alert.
var foreignPackage = '''
let nothing = datatable(TimeGenerated: datetime, Category: string, AccountName: string, OperationName: string, AuthenticationType: string, RequesterObjectId: string, CallerIpAddress: string, Uri: string, StatusCode: string)[];
union isfuzzy=true nothing, StorageBlobLogs
| where Category in ('StorageWrite', 'StorageDelete') and AccountName =~ '{account}'
| where StatusCode startswith '2'
| where RequesterObjectId !~ '{deployer}'
| project TimeGenerated, OperationName, AuthenticationType, RequesterObjectId, CallerIpAddress, Uri
'''
var packageWritten = '''
let nothing = datatable(TimeGenerated: datetime, Category: string, AccountName: string, OperationName: string, RequesterObjectId: string, CallerIpAddress: string, Uri: string, StatusCode: string)[];
union isfuzzy=true nothing, StorageBlobLogs
| where Category in ('StorageWrite', 'StorageDelete') and AccountName =~ '{account}'
| where StatusCode startswith '2'
| where RequesterObjectId =~ '{deployer}'
| summarize writes = count(), addresses = make_set(CallerIpAddress, 10) by bin(TimeGenerated, 15m)
'''

var alerts = [
  {
    name: 'jit-package-foreign'
    title: 'The deployed package was written by another identity'
    text: 'Only the deployer identity writes it. The next cold start runs what was written, with every identity of the app. Treat it as an intrusion until it is explained.'
    severity: 0
    frequency: 'PT5M'
    window: 'PT15M'
    query: replace(replace(foreignPackage, '{account}', accountName), '{deployer}', deployerPrincipalId)
  }
  {
    name: 'jit-package-written'
    title: 'The package was deployed'
    text: 'The deployer identity wrote the package. Compare with your deployments: code in the app can obtain the same token.'
    severity: 3
    frequency: 'PT15M'
    window: 'PT15M'
    query: replace(replace(packageWritten, '{account}', accountName), '{deployer}', deployerPrincipalId)
  }
]

resource account 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  // checkov:skip=CKV_AZURE_35: without a virtual network the platform and the deployer reach the account over the public endpoint; no key exists, only roles open it
  // checkov:skip=CKV_AZURE_59: public access to blobs is off and shared keys are off; the endpoint itself has to be reachable
  // checkov:skip=CKV_AZURE_206: the parameter's default is zone redundant, which the check cannot resolve
  // checkov:skip=CKV_AZURE_43: the name is stjitpkg and thirteen letters or digits, which the check cannot resolve
  name: accountName
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

resource container 'Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01' = {
  parent: blobs
  name: 'app-package'
  properties: {
    publicAccess: 'None'
  }
}

resource deployer 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(container.id, deployerPrincipalId, blobDataContributor)
  scope: container
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', blobDataContributor)
    principalId: deployerPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource writes 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'jit-writes'
  scope: blobs
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'StorageWrite'
        enabled: true
      }
      {
        category: 'StorageDelete'
        enabled: true
      }
    ]
  }
}

resource rules 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [for alert in alerts: {
  name: '${alert.name}-${mark}'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: alert.title
    description: '${alert.text} See docs/alerts.md#${alert.name}.'
    severity: alert.severity
    enabled: true
    scopes: [workspaceId]
    evaluationFrequency: alert.frequency
    windowSize: alert.window
    skipQueryValidation: true
    autoMitigate: true
    criteria: {
      allOf: [
        {
          query: alert.query
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: {
      actionGroups: empty(actionGroupId) ? [] : [actionGroupId]
    }
  }
}]

// The package's address: one container in an account that holds nothing else.
output containerUrl string = '${account.properties.primaryEndpoints.blob}${container.name}'
output accountName string = account.name
