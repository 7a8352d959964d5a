"""Read and answer the EC2 and query protocols as botocore's own service models describe them."""

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any
from xml.etree import ElementTree as ET

from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel, Shape

from local.aws.errors import AwsError

Params = Mapping[str, Any]
_TRUE = "true"


@cache
def service_model(service: str) -> ServiceModel:
    """Return botocore's description of a service."""
    return ServiceModel(Loader().load_service_model(service, "service-2"), service)


def read_call(service: str, form: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """Return the action of a call and its parameters, in the shape of botocore's arguments."""
    model = service_model(service)
    action = form.get("Action", "")
    if action not in model.operation_names:
        raise AwsError("InvalidAction", f"The action {action} is not valid for this web service.")
    shape = model.operation_model(action).input_shape
    return action, _structure(shape, "", form, service) if shape is not None else {}


def _structure(shape: Shape, prefix: str, form: Mapping[str, str], service: str) -> dict[str, Any]:
    found = {}
    for name, member in shape.members.items():
        key = prefix + _request_name(name, member, service)
        value = _value(member, key, form, service)
        if value is not None:
            found[name] = value
    return found


def _request_name(name: str, shape: Shape, service: str) -> str:
    """Return a member's name in a request: EC2 capitalises what its answers spell small."""
    serialization = shape.serialization
    if service != "ec2":
        return str(serialization.get("name", name))
    given = str(serialization.get("queryName") or serialization.get("name") or name)
    return given[:1].upper() + given[1:]


def _value(shape: Shape, key: str, form: Mapping[str, str], service: str) -> Any:
    if shape.type_name == "list":
        return _list(shape, key, form, service)
    if shape.type_name == "structure":
        if not any(name.startswith(f"{key}.") for name in form):
            return None
        return _structure(shape, f"{key}.", form, service)
    return _scalar(shape.type_name, key, form[key]) if key in form else None


def _list(shape: Shape, key: str, form: Mapping[str, str], service: str) -> list[Any] | None:
    start = f"{key}." if service == "ec2" else f"{key}.member."
    numbers = {
        int(number)
        for name in form
        if name.startswith(start) and (number := name[len(start) :].partition(".")[0]).isdigit()
    }
    if not numbers:
        return None
    member = shape.member
    return [_value(member, f"{start}{number}", form, service) for number in sorted(numbers)]


def _scalar(type_name: str, key: str, text: str) -> Any:
    if type_name in {"integer", "long"}:
        try:
            return int(text)
        except ValueError:
            raise AwsError(
                "InvalidParameterValue", f"Value ({text}) for parameter {key} is invalid."
            ) from None
    return text.lower() == _TRUE if type_name == "boolean" else text


def write_answer(service: str, action: str, answer: Params, request_id: str) -> str:
    """Return the XML of an answer."""
    model = service_model(service)
    operation = model.operation_model(action)
    root = ET.Element(f"{action}Response", xmlns=str(model.metadata["xmlNamespace"]))
    place = root
    if service == "ec2":
        ET.SubElement(root, "requestId").text = request_id
    else:
        place = _result_element(root, operation)
        metadata = ET.SubElement(root, "ResponseMetadata")
        ET.SubElement(metadata, "RequestId").text = request_id
    if operation.output_shape is not None:
        _write_structure(place, operation.output_shape, answer)
    return _text(root)


def _result_element(root: ET.Element, operation: OperationModel) -> ET.Element:
    wrapper = f"{operation.name}Result"
    if operation.output_shape is not None:
        wrapper = operation.output_shape.serialization.get("resultWrapper", wrapper)
    return ET.SubElement(root, wrapper)


def _write_structure(place: ET.Element, shape: Shape, values: Params) -> None:
    unknown = set(values) - set(shape.members)
    if unknown:
        raise KeyError(f"{shape.name} has no {', '.join(sorted(unknown))}")
    for name, member in shape.members.items():
        if values.get(name) is not None:
            element = ET.SubElement(place, str(member.serialization.get("name", name)))
            _write(element, member, values[name])


def _write(element: ET.Element, shape: Shape, value: Any) -> None:
    if shape.type_name == "structure":
        _write_structure(element, shape, value)
    elif shape.type_name == "list":
        name = shape.member.serialization.get("name", "member")
        for each in value:
            _write(ET.SubElement(element, str(name)), shape.member, each)
    elif isinstance(value, datetime):
        element.text = value.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    elif isinstance(value, bool):
        element.text = str(value).lower()
    else:
        element.text = str(value)


def write_error(service: str, error: AwsError, request_id: str) -> str:
    """Return the XML of an error."""
    if service == "ec2":
        root = ET.Element("Response")
        place = ET.SubElement(ET.SubElement(root, "Errors"), "Error")
        ET.SubElement(root, "RequestID").text = request_id
    else:
        namespace = str(service_model(service).metadata["xmlNamespace"])
        root = ET.Element("ErrorResponse", xmlns=namespace)
        place = ET.SubElement(root, "Error")
        ET.SubElement(place, "Type").text = "Sender"
        ET.SubElement(root, "RequestId").text = request_id
    ET.SubElement(place, "Code").text = error.code
    ET.SubElement(place, "Message").text = error.message
    return _text(root)


def _text(root: ET.Element) -> str:
    return ET.tostring(root, encoding="unicode", xml_declaration=True)
