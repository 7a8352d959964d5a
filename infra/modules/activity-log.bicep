// Sends this subscription's activity log to the workspace. A subscription has five such settings
// at most; if yours already has one to the same workspace, set collectActivityLog to false.
targetScope = 'subscription'

@description('Name of the setting.')
param name string

@description('Workspace that receives the log.')
param workspaceId string

resource export 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: name
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'Administrative'
        enabled: true
      }
      {
        category: 'Policy'
        enabled: true
      }
    ]
  }
}
