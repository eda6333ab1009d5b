"""The shapes in which telemetry lands in object storage, each with a writer and the mapping that reads it.

The writers are made from the published schemas of the platforms; no real files of a vendor were at hand.
"""

import base64
import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq

from features.mapping import Long, Mapping
from pipelines.records import RawObject

SIGNALS = ("temp", "rpm")


@dataclass(frozen=True)
class Reading:
    """What a device measured; times are UTC microseconds, None is a signal that the message leaves out."""

    device: str
    time_us: int
    temp: float | None
    rpm: float | None
    sequence: int = 0
    received_us: int = 0

    @property
    def values(self) -> dict[str, float]:
        """The signals that are there."""
        return {name: value for name, value in (("temp", self.temp), ("rpm", self.rpm)) if value is not None}


@dataclass(frozen=True)
class Shape:
    """One shape.

    Attributes:
        name: The platform.
        mapping: How to read it.
        write: Readings as an object.
        columnar: Whether columns can read it.
        one_device: Whether an object speaks of one device only.
        keeps: What of a reading survives: the sequence, the time of receipt.
        records: Whether the rejected bytes are bytes of the object.
    """

    name: str
    mapping: Mapping
    write: Callable[[Sequence[Reading]], RawObject]
    columnar: bool = True
    one_device: bool = False
    keeps: frozenset[str] = field(default_factory=frozenset)

    def __str__(self) -> str:
        return self.name


def iso(time_us: int, digits: int = 6) -> str:
    """ISO 8601 with so many digits of a second."""
    at = datetime.fromtimestamp(time_us // 1_000_000, UTC)
    fraction = f".{time_us % 1_000_000:06d}000"[: digits + 1] if digits else ""
    return f"{at:%Y-%m-%dT%H:%M:%S}{fraction}Z"


def lines(records: Sequence[Any], separator: str = "\n") -> bytes:
    """Records as JSON, one after the other."""
    return separator.join(json.dumps(record) for record in records).encode()


def avro(schema: dict[str, Any], records: Sequence[Any], codec: str = "null") -> bytes:
    """Records as an Avro container file."""
    out = io.BytesIO()
    fastavro.writer(out, fastavro.parse_schema(schema), records, codec=codec)
    return out.getvalue()


def parquet(columns: dict[str, Any], **options: Any) -> bytes:
    """Columns as a Parquet file."""
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, **options)
    return out.getvalue()


def table(header: Sequence[str] | None, rows: Sequence[Sequence[Any]], delimiter: str = ",") -> bytes:
    """Rows as CSV."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerows(([header] if header else []) + [["" if cell is None else cell for cell in row] for row in rows])
    return out.getvalue().encode()


def _object(data: bytes, key: str = "raw/x", **metadata: str) -> RawObject:
    return RawObject(key, data, metadata)


def _device(readings: Sequence[Reading]) -> str:
    return readings[0].device if readings else "none"


def _ms(time_us: int) -> int:
    return time_us // 1000


def _message(reading: Reading) -> dict[str, Any]:
    return {"ts": _ms(reading.time_us), "values": reading.values}


def _hub_envelope(reading: Reading, body: Any) -> dict[str, Any]:
    return {
        "EnqueuedTimeUtc": iso(reading.received_us, 7),
        "Properties": {"line": "a"},
        "SystemProperties": {"connectionDeviceId": reading.device, "connectionAuthMethod": '{"scope":"device"}'},
        "Body": body,
    }


def _base64(message: Any) -> str:
    return base64.b64encode(json.dumps(message).encode()).decode()


HUB = Mapping(
    device="SystemProperties.connectionDeviceId",
    time="body.ts",
    received="EnqueuedTimeUtc",
    received_unit="iso",
    signals="body.values",
    body="Body",
)
_HUB_SCHEMA = {
    "type": "record",
    "name": "Message",
    "namespace": "Microsoft.Azure.Devices",
    "fields": [
        {"name": "EnqueuedTimeUtc", "type": "string"},
        {"name": "Properties", "type": {"type": "map", "values": "string"}},
        {"name": "SystemProperties", "type": {"type": "map", "values": "string"}},
        {"name": "Body", "type": ["null", "bytes"]},
    ],
}
_ANY = ["long", "double", "string", "bytes"]
CAPTURE_SCHEMA = {
    "type": "record",
    "name": "EventData",
    "namespace": "Microsoft.ServiceBus.Messaging",
    "fields": [
        {"name": "SequenceNumber", "type": "long"},
        {"name": "Offset", "type": "string"},
        {"name": "EnqueuedTimeUtc", "type": "string"},
        {"name": "SystemProperties", "type": {"type": "map", "values": _ANY}},
        {"name": "Properties", "type": {"type": "map", "values": _ANY}},
        {"name": "Body", "type": ["null", "bytes"]},
    ],
}
_PUBSUB_SCHEMA = {
    "type": "record",
    "name": "AvroPubsubMessageRecord",
    "fields": [
        {"name": "data", "type": "bytes"},
        {"name": "message_id", "type": "string"},
        {"name": "publish_time", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "attributes", "type": {"type": "map", "values": "string"}},
    ],
}
_SITEWISE_SCHEMA = {
    "type": "record",
    "name": "AssetPropertyValue",
    "fields": [
        {"name": "seriesId", "type": "string"},
        {"name": "timeInSeconds", "type": "long"},
        {"name": "offsetInNanos", "type": "long"},
        {"name": "quality", "type": "string"},
        {"name": "doubleValue", "type": ["null", "double"]},
        {"name": "integerValue", "type": ["null", "int"]},
    ],
}
CAPTURE = Mapping(
    device=('SystemProperties."iothub-connection-device-id"', "body.device_id"),
    time="body.ts",
    received="EnqueuedTimeUtc",
    received_unit="iso",
    sequence="SequenceNumber",
    signals="body.values",
    body="Body",
)


def _capture(reading: Reading) -> dict[str, Any]:
    at = datetime.fromtimestamp(reading.received_us // 1_000_000, UTC)
    stamped = {"iothub-connection-device-id": reading.device} if reading.sequence % 2 else {"x-opt": 7}
    return {
        "SequenceNumber": reading.sequence,
        "Offset": "12884901888",
        "EnqueuedTimeUtc": f"{at.month}/{at.day}/{at:%Y} {int(at.strftime('%I'))}:{at:%M:%S %p}",
        "SystemProperties": stamped,
        "Properties": {},
        "Body": json.dumps({"device_id": reading.device, **_message(reading)}).encode(),
    }


def _entries(readings: Sequence[Reading]) -> list[tuple[Reading, str, float]]:
    return [(reading, name, value) for reading in readings for name, value in reading.values.items()]


def _telegraf(reading: Reading) -> dict[str, Any]:
    return {
        "fields": reading.values,
        "name": "press",
        "tags": {"host": "gw1", "device": reading.device},
        "timestamp": reading.time_us // 1_000_000,
    }


def _escaped(text: str) -> str:
    return "".join(f"\\{sign}" if sign in ",= " else sign for sign in text)


def _line(reading: Reading) -> str:
    fields = ",".join(f"{name}={value!r}" for name, value in reading.values.items()) or 'note="idle, really"'
    return f"press,device={_escaped(reading.device)},line=a\\ b {fields} {reading.time_us * 1000}"


def _tts(reading: Reading) -> dict[str, Any]:
    counted = {"f_cnt": reading.sequence} if reading.sequence else {}  # the platform leaves out a zero
    return {
        "end_device_ids": {"device_id": reading.device, "dev_eui": "70B3D57ED0000001"},
        "received_at": iso(reading.received_us, 9),
        "uplink_message": {
            "f_port": 2,
            **counted,
            "frm_payload": "AQI=",
            "decoded_payload": reading.values,
            "received_at": iso(reading.time_us, 9),
        },
    }


def _chirpstack(reading: Reading) -> dict[str, Any]:
    return {
        "deduplicationId": "3ac7e3c4",
        "time": iso(reading.time_us, 9).replace("Z", "+00:00"),
        "deviceInfo": {"devEui": reading.device, "deviceName": "soil"},
        "fCnt": reading.sequence,
        "object": reading.values,
        "data": "AQI=",
    }


def _edgex(reading: Reading) -> dict[str, Any]:
    origin = reading.time_us * 1000 + 789
    return {
        "apiVersion": "v3",
        "deviceName": reading.device,
        "origin": origin,
        "readings": [
            {"origin": origin, "resourceName": name, "valueType": "Float64", "value": f"{value:.17e}"}
            for name, value in [*reading.values.items(), ("label", 7.0)]
        ],
    }


def _otlp(readings: Sequence[Reading]) -> list[dict[str, Any]]:
    return [
        {
            "resourceMetrics": [
                {
                    "resource": {
                        "attributes": [
                            {"key": "service.name", "value": {"stringValue": "x"}},
                            {"key": "device.id", "value": {"stringValue": reading.device}},
                        ]
                    },
                    "scopeMetrics": [
                        {
                            "metrics": [
                                {
                                    "name": name,
                                    "gauge": {
                                        "dataPoints": [{"timeUnixNano": str(reading.time_us * 1000), "asDouble": value}]
                                    },
                                }
                                for name, value in reading.values.items()
                            ]
                        }
                    ],
                }
            ]
        }
        for reading in readings
    ]


def _opcua(reading: Reading) -> dict[str, Any]:
    return {
        "MessageId": "32235546",
        "MessageType": "ua-data",
        "Messages": [
            {
                "DataSetWriterName": reading.device,
                "SequenceNumber": reading.sequence,
                "Timestamp": iso(reading.time_us, 7),
                "Payload": {
                    name: {"Value": value, "SourceTimestamp": iso(reading.time_us, 7)} if name == "temp" else value
                    for name, value in reading.values.items()
                },
            }
        ],
    }


def _gateway_form(readings: Sequence[Reading]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for reading in readings:
        found.setdefault(reading.device, []).append(_message(reading))
    return found


LONG = Mapping(
    device="asset",
    time="at",
    time_unit="iso",
    received=None,
    format="csv",
    names={"temp": "Press/Temp", "rpm": "Press/Speed"},
    long=Long(name="tag", value="value"),
)
_TAGS = {"temp": "Press/Temp", "rpm": "Press/Speed"}
SEQUENCE, RECEIVED = "sequence", "received"

SHAPES = (
    Shape(
        "AWS IoT rule",
        Mapping(
            device=("device_id", "key.device"), key=r"plant/(?P<device>[^/]+)/", received=None, sequence="seq",
        ),
        lambda rs: _object(
            lines([{"ts": _ms(r.time_us), "seq": r.sequence, **r.values} for r in rs]), f"plant/{_device(rs)}/17.json"
        ),
        one_device=True,
        keeps=frozenset({SEQUENCE}),
    ),
    Shape(
        "Firehose, no separator",
        Mapping(device="device_id", received=None, signals="values"),
        lambda rs: _object(lines([{"device_id": r.device, "note": "}{", **_message(r)} for r in rs], "")),
    ),
    Shape(
        "Parquet, whole milliseconds",
        Mapping(device="key.device", key="device=(?P<device>[^/]+)/", received="stamp"),
        lambda rs: _object(
            parquet({
                "ts": pa.array([_ms(r.time_us) for r in rs], pa.int64()),
                "stamp": pa.array([_ms(r.received_us) for r in rs], pa.int64()),
                "temp": pa.array([r.temp for r in rs], pa.float64()),
                "rpm": pa.array([r.rpm for r in rs], pa.float64()),
                "note": pa.array(["x"] * len(rs)),
            }),
            f"lake/dt=2025-11-24/device={_device(rs)}/part-0",
        ),
        one_device=True,
        keeps=frozenset({RECEIVED}),
    ),
    Shape(
        "Parquet, timestamps",
        Mapping(device="machine", time="at", time_unit="iso", received=None, signals="m"),
        lambda rs: _object(
            parquet({
                "machine": pa.array([r.device for r in rs]).dictionary_encode(),
                "at": pa.array([r.time_us for r in rs], pa.int64()).cast(pa.timestamp("us", "UTC")),
                "m": pa.array([{"temp": r.temp, "rpm": r.rpm} for r in rs], pa.struct(
                    [("temp", pa.float64()), ("rpm", pa.float64())])),
            }, compression="zstd")
        ),
    ),
    Shape(
        "Azure IoT Hub, JSON, base64",
        HUB,
        lambda rs: _object(lines([_hub_envelope(r, _base64(_message(r))) for r in rs])),
        keeps=frozenset({RECEIVED}),
    ),
    Shape(
        "Azure IoT Hub, JSON, object",
        HUB,
        lambda rs: _object(lines([_hub_envelope(r, _message(r)) for r in rs])),
        keeps=frozenset({RECEIVED}),
    ),
    Shape(
        "Azure IoT Hub, JSON, text",
        HUB,
        lambda rs: _object(lines([_hub_envelope(r, json.dumps(_message(r))) for r in rs])),
        keeps=frozenset({RECEIVED}),
    ),
    Shape(
        "Azure IoT Hub, JSON, both kinds",
        HUB,
        lambda rs: _object(
            lines([_hub_envelope(r, _message(r) if n % 2 else _base64(_message(r))) for n, r in enumerate(rs)])
        ),
        columnar=False,
        keeps=frozenset({RECEIVED}),
    ),
    Shape(
        "Azure IoT Hub, Avro",
        HUB,
        lambda rs: _object(
            avro(_HUB_SCHEMA, [_hub_envelope(r, json.dumps(_message(r)).encode()) for r in rs], "deflate")
        ),
        keeps=frozenset({RECEIVED}),
    ),
    Shape(
        "Event Hubs Capture",
        CAPTURE,
        lambda rs: _object(avro(CAPTURE_SCHEMA, [_capture(r) for r in rs])),
        keeps=frozenset({SEQUENCE, RECEIVED}),
    ),
    Shape(
        "Pub/Sub, Avro with metadata",
        Mapping(
            device="attributes.deviceId", time="body.ts", received="publish_time", body="data", signals="body.values"
        ),
        lambda rs: _object(
            avro(
                _PUBSUB_SCHEMA,
                [
                    {
                        "data": json.dumps(_message(r)).encode(),
                        "message_id": "1",
                        "publish_time": r.received_us,
                        "attributes": {"deviceId": r.device},
                    }
                    for r in rs
                ],
                "bzip2",
            )
        ),
        keeps=frozenset({RECEIVED}),
    ),
    Shape(
        "Kafka Connect, JSON with schemas",
        Mapping(device="body.machine", time="body.ts", received=None, body="payload", signals="body.values"),
        lambda rs: _object(
            lines([{"schema": {"type": "struct"}, "payload": {"machine": r.device, **_message(r)}} for r in rs])
        ),
    ),
    Shape(
        "Telegraf, JSON",
        Mapping(
            device=("tags.device", "tags.host"), time="timestamp", time_unit="s", received=None, signals="fields"
        ),
        lambda rs: _object(lines([_telegraf(r) for r in rs])),
    ),
    Shape(
        "Telegraf, batches",
        Mapping(
            device=("tags.device", "tags.host"), time="timestamp", time_unit="s", received=None, signals="fields",
            rows="metrics[]",
        ),
        lambda rs: _object(lines([{"metrics": [_telegraf(r) for r in rs[n : n + 2]]} for n in range(0, len(rs), 2)])),
    ),
    Shape(
        "Line protocol",
        Mapping(
            device=("tags.device", "tags.host"), time="timestamp", time_unit="ns", received=None, signals="fields",
            format="line_protocol",
        ),
        lambda rs: _object("\n".join(["# exported", *map(_line, rs)]).encode()),
    ),
    Shape(
        "ThingsBoard, device form",
        Mapping(device="key.device", key="devices/(?P<device>[^/]+)/", received=None, signals="values", rows="[]"),
        lambda rs: _object(json.dumps([_message(r) for r in rs]).encode(), f"devices/{_device(rs)}/1"),
        one_device=True,
    ),
    Shape(
        "ThingsBoard, gateway form",
        Mapping(device="dev", received=None, signals="values", rows="{dev}[]"),
        lambda rs: _object(json.dumps(_gateway_form(rs)).encode()),
        columnar=False,
    ),
    Shape(
        "The Things Stack",
        Mapping(
            device="end_device_ids.device_id", time="uplink_message.received_at", time_unit="iso",
            received="received_at", sequence="uplink_message.f_cnt", sequence_default=0,
            signals="uplink_message.decoded_payload",
        ),
        lambda rs: _object(lines([_tts(r) for r in rs])),
        keeps=frozenset({SEQUENCE, RECEIVED}),
    ),
    Shape(
        "ChirpStack v4",
        Mapping(
            device="deviceInfo.devEui", time="time", time_unit="iso", received=None, sequence="fCnt",
            signals="object",
        ),
        lambda rs: _object(lines([_chirpstack(r) for r in rs])),
        keeps=frozenset({SEQUENCE}),
    ),
    Shape(
        "SiteWise, cold tier",
        Mapping(
            device="key.asset", key="asset=(?P<asset>[^/]+)/", time="timeInSeconds+offsetInNanos", time_unit="ns",
            received=None, long=Long(name="seriesId", value=("doubleValue", "integerValue")),
        ),
        lambda rs: _object(
            avro(
                _SITEWISE_SCHEMA,
                [
                    {
                        "seriesId": name,
                        "timeInSeconds": r.time_us // 1_000_000,
                        "offsetInNanos": r.time_us % 1_000_000 * 1000,
                        "quality": "GOOD",
                        "doubleValue": value,
                        "integerValue": None,
                    }
                    for r, name, value in _entries(rs)
                ],
                "xz",
            ),
            f"raw/asset={_device(rs)}/raw_1.avro",
        ),
        one_device=True,
    ),
    Shape(
        "SiteWise, bulk CSV",
        Mapping(
            device="asset", time="sec+ns", time_unit="ns", received=None, format="csv",
            columns=("asset", "tag", "type", "sec", "ns", "quality", "value"), long=Long(name="tag", value="value"),
        ),
        lambda rs: _object(
            table(
                None,
                [
                    [r.device, name, "DOUBLE", r.time_us // 1_000_000, r.time_us % 1_000_000 * 1000, "GOOD", value]
                    for r, name, value in _entries(rs)
                ],
            )
        ),
    ),
    Shape(
        "EdgeX",
        Mapping(
            device="deviceName", time="origin", time_unit="ns", received=None, quoted=True,
            long=Long(rows="readings[]", name="resourceName", value="value", time="origin"),
        ),
        lambda rs: _object(lines([_edgex(r) for r in rs])),
        columnar=False,
    ),
    Shape(
        "Sparkplug B, decoded",
        Mapping(
            device="dev", time="timestamp", received=None, sequence="seq",
            long=Long(rows="metrics[]", name="name", value="value", time="timestamp"),
        ),
        lambda rs: _object(
            lines([
                {
                    "dev": r.device, "timestamp": _ms(r.time_us), "seq": r.sequence,
                    "metrics": [
                        {"name": name, "timestamp": _ms(r.time_us), "dataType": "Double", "value": value}
                        for name, value in r.values.items()
                    ],
                }
                for r in rs
            ])
        ),
        keeps=frozenset({SEQUENCE}),
    ),
    Shape(
        "OPC UA PubSub",
        Mapping(
            device="DataSetWriterName", time="Timestamp", time_unit="iso", received=None, sequence="SequenceNumber",
            rows="Messages[]", long=Long(rows="Payload{tag}", name="tag", value="Value", time="SourceTimestamp"),
        ),
        lambda rs: _object(lines([_opcua(r) for r in rs])),
        columnar=False,
        keeps=frozenset({SEQUENCE}),
    ),
    Shape(
        "OPC Publisher, samples",
        Mapping(
            device="ApplicationUri", time="Value.SourceTimestamp", time_unit="iso", received=None,
            long=Long(name="DisplayName", value="Value.Value"),
        ),
        lambda rs: _object(
            lines([
                {
                    "NodeId": "ns=2;s=x", "ApplicationUri": r.device, "DisplayName": name,
                    "Value": {"Value": value, "SourceTimestamp": iso(r.time_us, 7)},
                }
                for r, name, value in _entries(rs)
            ])
        ),
    ),
    Shape(
        "Azure IoT Operations",
        Mapping(
            device="key.asset", key="data/(?P<asset>[^/]+)/", time="at", time_unit="iso", received=None,
            long=Long(rows="{tag}", name="tag", value="Value", time="SourceTimestamp"),
        ),
        lambda rs: _object(
            lines([
                {name: {"SourceTimestamp": iso(r.time_us, 7), "Value": value} for name, value in r.values.items()}
                for r in rs
            ]),
            f"azure-iot-operations/data/{_device(rs)}/1.json",
        ),
        columnar=False,
        one_device=True,
    ),
    Shape(
        "OpenTelemetry",
        Mapping(
            device="resource.attributes[key=device.id].value.stringValue", time="at", time_unit="ns", received=None,
            quoted=True, rows="resourceMetrics[]",
            long=Long(
                rows="scopeMetrics[].metrics[].gauge.dataPoints[]", name="name", value=("asDouble", "asInt"),
                time="timeUnixNano",
            ),
        ),
        lambda rs: _object(lines(_otlp(rs))),
        columnar=False,
    ),
    Shape(
        "EMQX, device in metadata",
        Mapping(device="meta.device-id", meta=("device-id",), time="ts", received=None, signals="values"),
        lambda rs: _object(lines([_message(r) for r in rs]), **{"device-id": _device(rs)}),
        one_device=True,
    ),
    Shape(
        "CSV, wide",
        Mapping(device="machine", time="ts", received="in", format="csv", names={"rpm": '"motor.rpm"'}),
        lambda rs: _object(
            table(
                ["machine", "ts", "in", "temp", "motor.rpm", "comment"],
                [[r.device, _ms(r.time_us), _ms(r.received_us), r.temp, r.rpm, 'a "b", c'] for r in rs],
            )
        ),
        keeps=frozenset({RECEIVED}),
    ),
    Shape(
        "CSV, wide, semicolons and local time",
        Mapping(
            device="key.rig", key="rig=(?P<rig>[^/]+)/", time="datetime", time_unit="iso", zone="+01:00",
            received=None, format="csv", delimiter=";",
        ),
        lambda rs: _object(
            table(
                ["datetime", "temp", "rpm"],
                [[iso(r.time_us + 3_600_000_000, 0)[:-1].replace("T", " "), r.temp, r.rpm] for r in rs],
                ";",
            ),
            f"rig={_device(rs)}/1.csv",
        ),
        one_device=True,
    ),
    Shape(
        "CSV, long",
        LONG,
        lambda rs: _object(
            table(
                ["at", "asset", "tag", "value"],
                [[iso(r.time_us), r.device, _TAGS[name], value] for r, name, value in _entries(rs)],
            )
        ),
    ),
    Shape(
        "Text, columns of blanks",
        Mapping(
            device="unit", time="at", time_unit="s", received=None, format="csv", delimiter=" ",
            columns=("unit", "at", "temp", "rpm"),
        ),
        lambda rs: _object(
            "".join(
                f"{r.device.replace(' ', '_') or '_'}  {r.time_us // 1_000_000} "
                f"{'NaN' if r.temp is None else r.temp}   {'NaN' if r.rpm is None else r.rpm}  \n"
                for r in rs
            ).encode()
        ),
        columnar=False,
    ),
)  # fmt: skip
