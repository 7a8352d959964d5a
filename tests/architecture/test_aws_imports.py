import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = """
import json, sys
import function_app
from shared.domain.aws_accounts import AwsAccounts
from shared.firewalls.ec2.provider import Ec2Provider
from shared.firewalls.ec2.wire import Ec2WhenUsed
from shared.ports import Machine, OutsideError

def loaded():
    return sorted({name.partition(".")[0] for name in sys.modules} & {"boto3", "botocore"})

def make():
    from shared.adapters.aws import AwsApi
    return AwsApi(AwsAccounts(), lambda: "", session_name="jit")

provider = Ec2Provider(Ec2WhenUsed(make), AwsAccounts(), "test1")
provider.owns("/subscriptions/x")
provider.attach([Machine("/subscriptions/x", "", "", ())])
before = loaded()
try:
    provider.read("arn:aws:ec2:eu-central-1:123456789012:instance/i-0a1b2c3d")
except OutsideError:
    print(json.dumps([before, loaded()]))
"""


def test_botocore_is_loaded_by_the_first_call_of_ec2() -> None:
    """The app and the EC2 provider load without botocore, and boto3 is never loaded."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[], ["botocore"]]
