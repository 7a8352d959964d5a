"""The errors that EC2 and STS answer with."""

from dataclasses import dataclass

FORBIDDEN, THROTTLED = 403, 503


@dataclass
class AwsError(Exception):
    """One error of the service: a code to decide by, a message to read."""

    code: str
    message: str
    status: int = 400


def invalid(message: str) -> AwsError:
    """Return the error for a parameter that cannot be accepted."""
    return AwsError("InvalidParameterValue", message)


def missing(name: str) -> AwsError:
    """Return the error for a parameter that was left out."""
    return AwsError("MissingParameter", f"The request must contain the parameter {name}")


def not_found(resource_type: str, resource_id: str) -> AwsError:
    """Return the error for a resource that does not exist."""
    words = {
        "InvalidGroup": "security group",
        "InvalidSecurityGroupRuleId": "security group rule ID",
        "InvalidNetworkInterfaceID": "networkInterface ID",
        "InvalidInstanceID": "instance ID",
        "InvalidVpcID": "vpc ID",
    }
    return AwsError(
        f"{resource_type}.NotFound", f"The {words[resource_type]} '{resource_id}' does not exist"
    )


def throttled() -> AwsError:
    """Return the error of a call beyond the rate of its account."""
    return AwsError("RequestLimitExceeded", "Request limit exceeded.", THROTTLED)


def unauthorized(action: str) -> AwsError:
    """Return the error of a call that no policy of the caller allows."""
    return AwsError(
        "UnauthorizedOperation",
        "You are not authorized to perform this operation. User: arn:aws:sts::simulated is not "
        f"authorized to perform: ec2:{action} because no identity-based policy allows it",
        FORBIDDEN,
    )
