// Alerts on the events that the app writes, one JSON object per trace: {"event": "jit.rule.closed", ...}.
// A test compares every event and field named here with the code. What to do for each: docs/alerts.md.
//
// alert                   reads
// jit-open-past-end       jit.sweep.failed, jit.sweep.completed, jit.close.refused
// jit-sweep-silent        jit.sweep.completed, its absence
// jit-sweep-late          jit.sweep.late
// jit-health-failing      the availability test of infra/extras, its absence too
// jit-poison              jit.poison
// jit-foreign-rule        the activity log
// jit-rule-repaired       jit.rule.repaired
// jit-foreign-storage     the storage account's own logs (infra/extras)
// jit-arm-throttled       jit.converge.retry
// jit-expiry-lag          jit.rule.closed
// jit-break-glass         jit.breakglass.used
// jit-refusals            jit.access.refused, jit.permission.refused
// jit-policy-failed       jit.policy.applied
// jit-row-unreadable      jit.row.unreadable
// jit-notifications-failing  jit.notifications.failed, jit.notifications.rejected, jit.notifications.unnoted
@description('Region.')
param location string

@description('Tags of every resource.')
param tags object

@description('Mark of this installation in every rule name.')
param mark string

@description('Addresses that get alerts by mail. Empty: none.')
param email string

@description('Fire the alerts on silence. false until code is deployed.')
param watchSilence bool

@description('Fire the alert on the availability test. false: the app\'s public endpoint is closed, and there is no test.')
param watchHealth bool

@description('Workspace that holds the logs.')
param workspaceId string

@description('Object id of the host identity: the only one that writes the tables and queues.')
param hostPrincipalId string

@description('Object ids of the network identities: they alone write our rules.')
param networkPrincipalIds array

@description('Object id of the closer identity, which deletes our rules where the app does not.')
param closerPrincipalId string

var events = '''
let jit = AppTraces
    | where Message startswith '{"event": "jit.'
    | extend e = parse_json(Message)
    | extend event = tostring(e.event);
'''

// The last word of a query is what fires: any row is an alert.
var openPastEnd = '''
jit
| where event == 'jit.close.refused' or (event == 'jit.sweep.failed' and isnotempty(e.firewall)) or (event == 'jit.sweep.completed' and toint(e.overdue) > 0)
| summarize minutes = dcount(bin(TimeGenerated, 1m)), rules = make_set(tostring(e.rules), 20), errors = make_set(tostring(e.error), 5) by event, firewall = tostring(e.firewall)
| where minutes >= 2 or event == 'jit.close.refused'
'''
var sweepSilent = '''
jit
| summarize sweeps = countif(event == 'jit.sweep.completed')
| where sweeps == 0
'''
var sweepLate = '''
jit
| where event == 'jit.sweep.late'
| project TimeGenerated, last = tostring(e.last)
'''
var healthFailing = '''
AppAvailabilityResults
| where Name startswith 'jit-health'
| summarize good = countif(Success)
| where good == 0
'''
var poison = '''
jit
| where event == 'jit.poison'
| project TimeGenerated, queue = tostring(e.queue), body = tostring(e.body)
'''
var foreignRule = '''
let nothing = datatable(TimeGenerated: datetime, OperationNameValue: string, ResourceId: string, _ResourceId: string, Claims: string, Caller: string, ActivityStatusValue: string)[];
union isfuzzy=true nothing, AzureActivity
| where OperationNameValue has 'securityRules' and OperationNameValue has_any ('write', 'delete')
| where ActivityStatusValue in~ ('Success', 'Succeeded', 'Accept', 'Accepted')
| extend rule = iff(isempty(_ResourceId), ResourceId, _ResourceId)
| where rule contains '-{mark}-' or rule contains '_{mark}_'
| extend principal = tostring(parse_json(Claims)['http://schemas.microsoft.com/identity/claims/objectidentifier'])
| where principal !in~ ('{network}', '{closer}')
| project TimeGenerated, Caller, principal, OperationNameValue, rule
'''
var ruleRepaired = '''
jit
| where event == 'jit.rule.repaired'
| project TimeGenerated, firewall = tostring(e.firewall), rule = tostring(e.rule), what = tostring(e.what)
'''
var foreignStorage = '''
let nothing = datatable(TimeGenerated: datetime, Category: string, OperationName: string, RequesterObjectId: string, CallerIpAddress: string, Uri: string, StatusCode: string)[];
union isfuzzy=true nothing, StorageTableLogs, StorageQueueLogs
| where Category in ('StorageWrite', 'StorageDelete')
| where StatusCode startswith '2'
| where RequesterObjectId !~ '{host}'
| project TimeGenerated, OperationName, RequesterObjectId, CallerIpAddress, Uri
'''
var armThrottled = '''
jit
| where event == 'jit.converge.retry' and tostring(e.error) startswith 'ThrottledError'
| summarize retries = count() by firewall = tostring(e.firewall)
| where retries >= 5
'''
var expiryLag = '''
jit
| where event == 'jit.rule.closed' and isnotnull(e.lateness_seconds)
| extend allowed = coalesce(todouble(e.allowed_seconds), 120.0)
| extend share = todouble(e.lateness_seconds) / allowed
| summarize p95 = percentile(share, 95), closes = count() by allowed
| where p95 > 1
'''
var breakGlass = '''
jit
| where event == 'jit.breakglass.used'
| project TimeGenerated, requestor = tostring(e.requestor), source = tostring(e.source), request = tostring(e.request)
'''
var refusals = '''
jit
| where event == 'jit.access.refused' or (event == 'jit.permission.refused' and tobool(e.failed_check))
| summarize refused = countif(event == 'jit.access.refused'), unchecked = countif(event == 'jit.permission.refused') by principal = tostring(e.principal)
| where refused >= 20 or unchecked >= 5
'''
var policyFailed = '''
jit
| where event == 'jit.policy.applied' and tostring(e.state) == 'Failed'
| project TimeGenerated, policy = tostring(e.policy), error = tostring(e.error)
'''
var rowUnreadable = '''
jit
| where event == 'jit.row.unreadable'
| project TimeGenerated, row = tostring(e.row), error = tostring(e.error)
'''
var notificationsFailing = '''
jit
| where event in ('jit.notifications.failed', 'jit.notifications.unnoted') or (event == 'jit.notifications.rejected' and tobool(e.dropped))
| summarize failures = count(), last = max(TimeGenerated), errors = make_set(tostring(e.error), 5) by event
| where failures >= 3 or event != 'jit.notifications.failed'
'''

var alerts = [
  {
    name: 'jit-open-past-end'
    title: 'A rule may stand open past its end'
    text: 'The sweep could not close something in two sweeps or more. It goes on trying for ever; a person should look why.'
    severity: 0
    frequency: 'PT5M'
    window: 'PT10M'
    query: '${events}${openPastEnd}'
  }
  {
    name: 'jit-sweep-silent'
    title: 'The sweep has not run'
    text: 'No sweep in ten minutes. Nothing closes until it runs or other work notices that it is late.'
    severity: 0
    frequency: 'PT5M'
    window: 'PT10M'
    query: '${events}${sweepSilent}'
  }
  {
    name: 'jit-sweep-late'
    title: 'The sweep was late and other work ran it'
    text: 'The timer had been silent for more than three minutes. Closing went on, but the guarantee leans on other traffic.'
    severity: 2
    frequency: 'PT5M'
    window: 'PT15M'
    query: '${events}${sweepLate}'
  }
  {
    name: 'jit-health-failing'
    title: 'The app does not answer from outside, or says it is unhealthy'
    text: 'The availability test of /api/health has not succeeded once in fifteen minutes.'
    severity: 0
    frequency: 'PT5M'
    window: 'PT15M'
    query: healthFailing
  }
  {
    name: 'jit-poison'
    title: 'A message could not be handled'
    text: 'A message failed in every attempt. The request it carried has ended or the sweep goes on; the cause remains.'
    severity: 1
    frequency: 'PT5M'
    window: 'PT15M'
    query: '${events}${poison}'
  }
  {
    name: 'jit-foreign-rule'
    title: 'Another writer changed a rule of ours'
    text: 'A security rule with our mark was written or deleted by another identity. Reconciling repairs it; find out who and why.'
    severity: 1
    frequency: 'PT15M'
    window: 'PT30M'
    query: replace(replace(replace(foreignRule, '{mark}', mark), '{network}', join(networkPrincipalIds, '\', \'')), '{closer}', closerPrincipalId)
  }
  {
    name: 'jit-rule-repaired'
    title: 'A rule of ours had been changed, and was repaired'
    text: 'Another writer changes our rules: a person, a template, another tool. The rule is as it should be again.'
    severity: 1
    frequency: 'PT15M'
    window: 'PT30M'
    query: '${events}${ruleRepaired}'
  }
  {
    name: 'jit-foreign-storage'
    title: 'Another writer changed the app\'s tables or queues'
    text: 'A writer of these can open ports. Treat it as an intrusion until it is explained.'
    severity: 0
    frequency: 'PT5M'
    window: 'PT15M'
    query: replace(foreignStorage, '{host}', hostPrincipalId)
  }
  {
    name: 'jit-arm-throttled'
    title: 'ARM throttles the app'
    text: 'A quota is used up; opening and closing on this firewall wait for it.'
    severity: 2
    frequency: 'PT5M'
    window: 'PT15M'
    query: '${events}${armThrottled}'
  }
  {
    name: 'jit-expiry-lag'
    title: 'Closing lags behind'
    text: 'The slowest twentieth of closes came more than two minutes after their end.'
    severity: 2
    frequency: 'PT15M'
    window: 'PT1H'
    query: '${events}${expiryLag}'
  }
  {
    name: 'jit-break-glass'
    title: 'Break-glass was used'
    text: 'A port was opened without approval. The reason stands in the record; ask the person today.'
    severity: 1
    frequency: 'PT5M'
    window: 'PT15M'
    query: '${events}${breakGlass}'
  }
  {
    name: 'jit-refusals'
    title: 'A caller is refused again and again, or permissions cannot be read'
    text: 'Twenty refusals of one caller in fifteen minutes, or five because the check itself could not be made.'
    severity: 3
    frequency: 'PT15M'
    window: 'PT15M'
    query: '${events}${refusals}'
  }
  {
    name: 'jit-policy-failed'
    title: 'A policy could not be applied'
    text: 'Some ports that it governs may still be open to everybody.'
    severity: 1
    frequency: 'PT15M'
    window: 'PT30M'
    query: '${events}${policyFailed}'
  }
  {
    name: 'jit-row-unreadable'
    title: 'A row cannot be read'
    text: 'A row of ours holds what the app did not write. Whatever it stood for is not wanted any more.'
    severity: 1
    frequency: 'PT15M'
    window: 'PT30M'
    query: '${events}${rowUnreadable}'
  }
  {
    name: 'jit-notifications-failing'
    title: 'Notifications do not arrive'
    text: 'The notification channel failed in three runs of half an hour, or notifications were dropped or not noted. No opening and no close waits for them.'
    severity: 2
    frequency: 'PT15M'
    window: 'PT30M'
    query: '${events}${notificationsFailing}'
  }
]

// Before the first deployment of code nothing sweeps and nothing answers. The postdeploy hook enables these.
var silenceAlerts = ['jit-sweep-silent', 'jit-health-failing']

resource group 'Microsoft.Insights/actionGroups@2023-01-01' = if (!empty(email)) {
  name: 'ag-jit-${mark}'
  location: 'global'
  tags: tags
  properties: {
    enabled: true
    groupShortName: 'jit'
    emailReceivers: [
      {
        name: 'operators'
        emailAddress: email
        useCommonAlertSchema: true
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
    enabled: (watchSilence || !contains(silenceAlerts, alert.name)) && (watchHealth || alert.name != 'jit-health-failing')
    scopes: [workspaceId]
    evaluationFrequency: alert.frequency
    windowSize: alert.window
    // Some tables appear with their first row; a rule must not wait for an incident to be made.
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
      actionGroups: empty(email) ? [] : [group.id]
    }
  }
}]

output actionGroupId string = empty(email) ? '' : group.id
