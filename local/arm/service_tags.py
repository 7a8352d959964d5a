"""The service tags that a security rule may name; anything else is no prefix.

Names from the documentation of virtual network service tags. A tag the service does not know is
refused as an invalid prefix (terraform-provider-azurerm#16761), and so is a host name.
"""

import re

_NAMES = """
ActionGroup ApiManagement AppConfiguration AppService AppServiceManagement
ApplicationInsightsAvailability AutonomousDevelopmentPlatform AzureActiveDirectory
AzureActiveDirectoryDomainServices AzureAdvancedThreatProtection AzureApiForFHIR
AzureArcInfrastructure AzureAttestation AzureBackup AzureBotService AzureCloud
AzureCognitiveSearch AzureConnectors AzureContainerAppsService AzureContainerRegistry
AzureCosmosDB AzureDataExplorerManagement AzureDatabricks AzureDevOps AzureDeviceUpdate
AzureDigitalTwins AzureEventGrid AzureFrontDoor AzureHealthcareAPIs AzureInformationProtection
AzureIoTHub AzureKeyVault AzureLoadBalancer AzureLoadTestingInstanceManagement
AzureMachineLearning AzureMachineLearningInference AzureManagedGrafana AzureMonitor
AzureMonitorForSAP AzureOpenDatasets AzurePlatformDNS AzurePlatformIMDS AzurePlatformLKM
AzureResourceManager AzureSecurityCenter AzureSentinel AzureSignalR AzureSiteRecovery AzureSphere
AzureSpringCloud AzureStack AzureTrafficManager AzureUpdateDelivery AzureWebPubSub
BatchNodeManagement ChaosStudio CognitiveServicesFrontend CognitiveServicesManagement DataFactory
DataFactoryManagement Dynamics365BusinessCentral Dynamics365ForMarketingEmail
EOPExternalPublishedIPs EventHub GatewayManager GenevaActions GuestAndHybridManagement HDInsight
Internet KustoAnalytics LogicApps LogicAppsManagement M365ManagementActivityApi
M365ManagementActivityApiWebhook MicrosoftAzureFluidRelay MicrosoftCloudAppSecurity
MicrosoftContainerRegistry MicrosoftDefenderForEndpoint MicrosoftPurviewPolicyDistribution
OneDsCollector PowerBI PowerPlatformInfra PowerPlatformPlex PowerQueryOnline Scuba SerialConsole
ServiceBus ServiceFabric Sql SqlManagement Storage StorageMover StorageSyncService VideoIndexer
VirtualNetwork WindowsAdminCenter WindowsVirtualDesktop
"""
_TAGS = {name.lower(): name for name in _NAMES.split()}
_REGION = re.compile(r"[a-z0-9]+", re.IGNORECASE)


def is_service_tag(prefix: str) -> bool:
    """Tell whether a prefix is a service tag, with or without a region, in any letter case."""
    name, dot, region = prefix.partition(".")
    return name.lower() in _TAGS and (not dot or _REGION.fullmatch(region) is not None)


def usual_case(tag: str) -> str:
    """Write a tag as the documentation does; whatever is none stays as it is."""
    name, dot, region = tag.partition(".")
    return f"{_TAGS.get(name.lower(), name)}{dot}{region}"
