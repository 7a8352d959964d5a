// The exported audit record: append blobs in an account of its own, under a time-based immutability
// policy that allows protected appends. The app creates and appends; no role lets it change or delete.
// How the record is verified, and how the policy is locked: docs/operations.md.
@description('Region.')
param location string

@description('Tags of every resource.')
param tags object

@description('Unique part of names.')
param token string

@description('Mark of this installation.')
param mark string

@description('Redundancy. While this account is away events wait in the app\'s tables; closing does not need it.')
param sku string

@description('Close the public endpoint: only private endpoints answer then.')
param isPrivate bool

@description('Days after its last append during which a file cannot be changed or deleted.')
param days int

@description('Write the immutability policy. false once it is locked: only an extension is accepted then.')
param writePolicy bool

@description('Fire the alert on silence. false until code is deployed.')
param watchSilence bool

@description('Object id of the host identity, which exports.')
param hostPrincipalId string

@description('Workspace that receives the log of writes.')
param workspaceId string

@description('Resource id of the action group. Empty: alerts fire and notify no address.')
param actionGroupId string

var accountName = 'stjitaud${token}'
var auditExporter = guid(resourceGroup().id, mark, 'audit-exporter')

var events = '''
let jit = AppTraces
    | where Message startswith '{"event": "jit.'
    | extend e = parse_json(Message)
    | extend event = tostring(e.event);
'''

// The last word of a query is what fires: any row is an alert.
var foreignWrite = '''
let nothing = datatable(TimeGenerated: datetime, Category: string, AccountName: string, OperationName: string, AuthenticationType: string, RequesterObjectId: string, CallerIpAddress: string, Uri: string, StatusCode: string)[];
union isfuzzy=true nothing, StorageBlobLogs
| where Category in ('StorageWrite', 'StorageDelete') and AccountName =~ '{account}'
| where RequesterObjectId !~ '{host}' or OperationName !in~ ('PutBlob', 'AppendBlock')
| project TimeGenerated, OperationName, AuthenticationType, RequesterObjectId, CallerIpAddress, Uri, StatusCode
'''
var protectionChanged = '''
let nothing = datatable(TimeGenerated: datetime, OperationNameValue: string, ResourceId: string, _ResourceId: string, Caller: string, ActivityStatusValue: string)[];
union isfuzzy=true nothing, AzureActivity
| extend changed = iff(isempty(_ResourceId), ResourceId, _ResourceId)
| where changed contains '{account}' or OperationNameValue startswith 'Microsoft.Authorization/roleDefinitions/'
| where OperationNameValue contains 'immutabilityPolicies' or OperationNameValue endswith 'keys/action' or OperationNameValue endswith 'regenerateKey/action' or OperationNameValue endswith 'storageAccounts/write' or OperationNameValue endswith 'storageAccounts/delete' or OperationNameValue contains 'containers/delete' or OperationNameValue contains 'roleAssignments' or OperationNameValue contains 'roleDefinitions'
| project TimeGenerated, Caller, OperationNameValue, ActivityStatusValue, changed
'''
var foreignLine = '''
jit
| where event == 'jit.audit.blob.foreign'
| project TimeGenerated, blob = tostring(e.blob), error = tostring(e.error)
'''
var behind = '''
jit
| where event == 'jit.audit.export.failed' and (isempty(e.waiting_seconds) or todouble(e.waiting_seconds) > 3600)
| summarize runs = count(), waiting = max(todouble(e.waiting_seconds)), errors = make_set(tostring(e.error), 5)
| where runs >= 2
'''
var unanchored = '''
jit
| summarize anchors = countif(event == 'jit.audit.anchored' and TimeGenerated > ago(26h))
| where anchors == 0
'''

var alerts = [
  {
    name: 'jit-audit-foreign'
    title: 'The exported audit record was written or deleted by other means'
    text: 'Another identity wrote or deleted, or tried to, or the host did something else than create and append. Treat it as an intrusion until it is explained.'
    severity: 0
    frequency: 'PT5M'
    window: 'PT15M'
    enabled: true
    query: replace(replace(foreignWrite, '{account}', accountName), '{host}', hostPrincipalId)
  }
  {
    name: 'jit-audit-protection'
    title: 'The protection of the audit record was changed'
    text: 'The immutability policy, the account, its keys or a right on it was written or read out. A deployment of yours does that too.'
    severity: 0
    frequency: 'PT5M'
    window: 'PT30M'
    enabled: true
    query: replace(protectionChanged, '{account}', accountName)
  }
  {
    name: 'jit-audit-line'
    title: 'A file of the audit record holds what the app did not write'
    text: 'The export found other bytes where its own end, or was refused there, and went on in the next part. Verify the record.'
    severity: 0
    frequency: 'PT5M'
    window: 'PT15M'
    enabled: true
    query: '${events}${foreignLine}'
  }
  {
    name: 'jit-audit-behind'
    title: 'Audit events have waited for export for more than an hour'
    text: 'Events are safe in the table and are exported once the account answers. Closing is not concerned.'
    severity: 2
    frequency: 'PT15M'
    window: 'PT30M'
    enabled: true
    query: '${events}${behind}'
  }
  {
    name: 'jit-audit-unanchored'
    title: 'The head of the audit record was not anchored for a day'
    text: 'The export did not begin the file of a day. Without anchors a cut end of the record does not show.'
    severity: 1
    frequency: 'PT1H'
    window: 'P2D'
    enabled: watchSilence
    query: '${events}${unanchored}'
  }
]

resource account 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  // checkov:skip=CKV_AZURE_35: without a virtual network the app and auditors reach the account over the public endpoint; no key exists, only roles open it
  // checkov:skip=CKV_AZURE_59: public access to blobs is off and shared keys are off; the endpoint itself has to be reachable
  // checkov:skip=CKV_AZURE_206: the parameter's default is zone redundant, which the check cannot resolve
  // checkov:skip=CKV_AZURE_43: the name is stjitaud and thirteen letters or digits, which the check cannot resolve
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

// No versioning: it would turn an overwrite into a version instead of refusing it.
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
  name: 'audit'
  properties: {
    publicAccess: 'None'
  }
}

// Unlocked: it refuses changes to files, and an administrator can remove it. Locking is a step of yours.
resource policy 'Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies@2023-05-01' = if (writePolicy) {
  parent: container
  name: 'default'
  properties: {
    immutabilityPeriodSinceCreationInDays: days
    allowProtectedAppendWrites: true
  }
}

// "Create a blob or snapshot, or append data to a blob." Overwriting is blobs/write, which is not here.
resource exporter 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: auditExporter
  properties: {
    roleName: 'JIT audit exporter (${mark})'
    description: 'Creates, appends to and reads files of the audit record. Changes and deletes none.'
    type: 'CustomRole'
    permissions: [
      {
        actions: []
        notActions: []
        dataActions: [
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/add/action'
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read'
        ]
        notDataActions: []
      }
    ]
    assignableScopes: [resourceGroup().id]
  }
}

resource hostExports 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(container.id, hostPrincipalId, auditExporter)
  scope: container
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', auditExporter)
    principalId: hostPrincipalId
    principalType: 'ServicePrincipal'
  }
  dependsOn: [
    exporter
  ]
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
    enabled: alert.enabled
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

output containerUrl string = '${account.properties.primaryEndpoints.blob}${container.name}'
output accountName string = account.name
