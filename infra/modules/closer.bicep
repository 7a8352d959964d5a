// The independent closer: a Logic App (Consumption) that needs neither the app nor its storage. Every
// five minutes it removes our allow rules on NSGs whose end, as their own text says, passed more than
// the grace ago. Its actions: infra/workflows/closer.json. Its reasons: docs/decisions.
@description('Region.')
param location string

@description('Tags of every resource.')
param tags object

@description('Unique part of names.')
param token string

@description('Mark of this installation in every rule name.')
param mark string

@description('JIT_SCOPES, one scope an item. Only subscriptions and resource groups can be listed; narrower ones are left out.')
param scopes array

@description('Minutes that the app has for a close before the closer steps in.')
param graceMinutes int

@description('Resource id of the closer\'s own identity.')
param identityId string

@description('Object id of that identity.')
param principalId string

@description('Workspace that receives the runs.')
param workspaceId string

@description('Resource id of the action group. Empty: alerts fire and notify no address.')
param actionGroupId string

var arm = environment().resourceManager
// An identity in an action is checked when the workflow is saved, so it cannot be a parameter.
var definition = json(replace(string(loadJsonContent('../workflows/closer.json')), '{closerIdentity}', identityId))
var workflowName = 'logic-jit-closer-${token}'

// The last word of a query is what fires: any row is an alert.
var silent = '''
let nothing = datatable(TimeGenerated: datetime, Category: string, OperationName: string, resource_workflowName_s: string)[];
union isfuzzy=true nothing, AzureDiagnostics
| where Category == 'WorkflowRuntime' and OperationName endswith 'workflowRunCompleted'
| where resource_workflowName_s =~ '{workflow}'
| summarize runs = count()
| where runs == 0
'''
var strayed = '''
let nothing = datatable(TimeGenerated: datetime, OperationNameValue: string, ResourceId: string, _ResourceId: string, Claims: string, Caller: string, ActivityStatusValue: string)[];
union isfuzzy=true nothing, AzureActivity
| extend principal = tostring(parse_json(Claims)['http://schemas.microsoft.com/identity/claims/objectidentifier'])
| where principal =~ '{closer}'
| extend rule = iff(isempty(_ResourceId), ResourceId, _ResourceId)
| where not(OperationNameValue endswith 'securityRules/delete' and rule matches regex '(?i)-{mark}-[0-9a-f]{32}$')
| project TimeGenerated, OperationNameValue, ActivityStatusValue, rule
'''
var changed = '''
let nothing = datatable(TimeGenerated: datetime, OperationNameValue: string, ResourceId: string, _ResourceId: string, Caller: string, ActivityStatusValue: string)[];
union isfuzzy=true nothing, AzureActivity
| where OperationNameValue startswith 'Microsoft.Logic/workflows/' or OperationNameValue startswith 'Microsoft.ManagedIdentity/'
| where ActivityStatusValue in~ ('Success', 'Succeeded', 'Accept', 'Accepted')
| extend changed = iff(isempty(_ResourceId), ResourceId, _ResourceId)
| where changed contains '{workflow}' or changed startswith '{identity}'
| project TimeGenerated, Caller, OperationNameValue, changed
'''

var alerts = [
  {
    name: 'jit-closer-silent'
    title: 'The independent closer has not run'
    text: 'No run ended in half an hour. The app closes as ever; what it fails to close now stays open.'
    severity: 1
    frequency: 'PT5M'
    window: 'PT30M'
    query: replace(silent, '{workflow}', workflowName)
  }
  {
    name: 'jit-closer-strayed'
    title: 'The closer\'s identity did what the closer does not do'
    text: 'It deleted, or tried to delete or write, something else than an allow rule with our mark. Treat it as an intrusion until it is explained.'
    severity: 0
    frequency: 'PT5M'
    window: 'PT30M'
    query: replace(replace(strayed, '{closer}', principalId), '{mark}', mark)
  }
  {
    name: 'jit-closer-changed'
    title: 'The independent closer was changed'
    text: 'The workflow or its identity was written, disabled or deleted. A deployment of yours does that too.'
    severity: 1
    frequency: 'PT5M'
    window: 'PT30M'
    query: replace(replace(changed, '{workflow}', workflowName), '{identity}', identityId)
  }
]

resource workflow 'Microsoft.Logic/workflows@2019-05-01' = {
  name: workflowName
  location: location
  tags: tags
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    state: 'Enabled'
    definition: definition
    parameters: {
      armUrl: {
        value: endsWith(arm, '/') ? substring(arm, 0, length(arm) - 1) : arm
      }
      audience: {
        value: arm
      }
      scopes: {
        value: scopes
      }
      deploymentId: {
        value: mark
      }
      graceMinutes: {
        value: graceMinutes
      }
    }
  }
}

resource runs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'jit'
  scope: workflow
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'WorkflowRuntime'
        enabled: true
      }
    ]
  }
}

// On the platform's own metric: it needs neither the app nor the workspace.
resource acted 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: 'jit-closer-acted-${mark}'
  location: 'global'
  tags: tags
  properties: {
    description: 'A run of the independent closer failed: it removed an overdue rule, found one that it may not remove, or could not look everywhere. The error of the run says which. See docs/alerts.md#jit-closer-acted.'
    severity: 0
    enabled: true
    scopes: [workflow.id]
    evaluationFrequency: 'PT1M'
    windowSize: 'PT5M'
    autoMitigate: true
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          name: 'failed'
          criterionType: 'StaticThresholdCriterion'
          metricNamespace: 'Microsoft.Logic/workflows'
          metricName: 'RunsFailed'
          operator: 'GreaterThan'
          threshold: 0
          timeAggregation: 'Total'
        }
      ]
    }
    actions: empty(actionGroupId) ? [] : [{ actionGroupId: actionGroupId }]
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

output workflowName string = workflow.name
