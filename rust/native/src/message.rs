//! Messages: built from objects, or received as text that was checked and taken apart, and stays as it is.
#![allow(clippy::similar_names, reason = "content and context are called so")]

use std::sync::OnceLock;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};
use tekton_kernel::message::{self, Header, Kind, Received, Span, msgpack};
use tekton_kernel::uuid;

use crate::message_context::{MessageContext, make};
use crate::message_type;
use crate::text::{self, Text};
use crate::{error, finite, flat, ids, objects, routes};

/// What was given, or was made of the text when somebody asked for it.
type Made<T> = OnceLock<Py<T>>;

/// A message.
#[pyclass(frozen, module = "tekton._native")]
pub struct Message {
    id: u128,
    kind: Kind,
    body: Body,
    /// Of a built message only when there was none and it was asked for.
    metadata: Made<PyDict>,
}

#[allow(clippy::large_enum_variant, reason = "it is in the Python object, where a box would be one more")]
enum Body {
    Built(Built),
    Received(Source),
}

struct Built {
    timestamp: Option<f64>,
    context: Py<MessageContext>,
    content: Py<PyAny>,
    metadata: Option<Py<PyDict>>,
    /// What it is as JSON, since somebody asked.
    json: Made<PyBytes>,
}

/// A text, and where in it things are.
struct Source {
    text: Text,
    /// Its bytes.
    size: usize,
    found: Received,
    context: Made<MessageContext>,
    content: Made<PyAny>,
    /// Of a text that is a str.
    json: Made<PyBytes>,
}

#[pymethods]
impl Message {
    #[new]
    #[pyo3(signature = (message_type, content, context, metadata = None, *, message_id = None, timestamp = None))]
    fn new(
        message_type: &Bound<'_, PyAny>,
        content: Py<PyAny>,
        context: Py<MessageContext>,
        metadata: Option<Py<PyDict>>,
        message_id: Option<&str>,
        timestamp: Option<f64>,
    ) -> PyResult<Self> {
        let kind = message_type::kind(message_type)?;
        let id = match message_id {
            Some(id) => uuid::parse(id).ok_or_else(|| error::no_uuid(id))?,
            None => ids::next(),
        };
        if timestamp.is_some_and(|timestamp| !timestamp.is_finite()) {
            return Err(error::not_acceptable("timestamp", "finite"));
        }
        let body = Body::Built(Built { timestamp, context, content, metadata, json: OnceLock::new() });
        Ok(Self { id, kind, body, metadata: OnceLock::new() })
    }

    #[staticmethod]
    fn from_json(data: &Bound<'_, PyAny>) -> PyResult<Self> {
        Self::received(data.py(), Text::of(data)?, |at| at)
    }

    #[staticmethod]
    fn from_msgpack(data: &Bound<'_, PyAny>) -> PyResult<Self> {
        let data = text::bytes(data, "MessagePack is read from bytes")?;
        Self::translated(data.py(), data.as_bytes(), 0)
    }

    fn to_msgpack<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        objects::bytes(py, &msgpack::from_json(self.json(py)?))
    }

    fn to_json<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        match &self.body {
            Body::Built(built) => made(py, &built.json, || self.encode(py, built)),
            Body::Received(Source { text: Text::Bytes(bytes), .. }) => Ok(bytes.bind(py).clone()),
            Body::Received(Source { text: Text::Str(text), json, .. }) => {
                made(py, json, || objects::bytes(py, text.to_str(py)?.as_bytes()))
            }
        }
    }

    #[staticmethod]
    fn peek<'py>(data: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyTuple>> {
        let py = data.py();
        let text = Text::of(data)?;
        let bytes = text.bytes(py)?;
        let route = message::route(bytes).map_err(|fault| error::message(py, fault, bytes, fault.at))?;
        routes::tuple(py, route.kind, route.sender.of(bytes), route.recipient.of(bytes))
    }

    #[getter]
    fn route<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        match &self.body {
            Body::Built(built) => {
                let context = &built.context.get().0;
                routes::tuple(py, self.kind, context.sender().as_bytes(), context.recipient().as_bytes())
            }
            Body::Received(source) => {
                let (bytes, found) = (source.text.bytes(py)?, &source.found);
                routes::tuple(py, self.kind, found.sender.of(bytes), found.recipient.of(bytes))
            }
        }
    }

    #[getter]
    fn message_id<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        objects::utf8(py, &uuid::characters(self.id))
    }

    #[getter]
    fn message_type<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        message_type::member(py, self.kind)
    }

    #[getter]
    fn timestamp<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.seconds(py)?.map(|seconds| objects::float(py, seconds)).transpose()
    }

    #[getter]
    fn context<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, MessageContext>> {
        match &self.body {
            Body::Built(built) => Ok(built.context.bind(py).clone()),
            Body::Received(source) => made(py, &source.context, || source.read_context(py)),
        }
    }

    #[getter]
    fn content<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match &self.body {
            Body::Built(built) => Ok(built.content.bind(py).clone()),
            Body::Received(source) => made(py, &source.content, || source.decode(py, source.found.content)),
        }
    }

    #[getter]
    fn metadata<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        match &self.body {
            Body::Built(Built { metadata: Some(metadata), .. }) => Ok(metadata.bind(py).clone()),
            Body::Received(source) if !source.found.metadata.is_empty() => made(py, &self.metadata, || {
                Ok(source.decode(py, source.found.metadata)?.cast_into::<PyDict>()?)
            }),
            _ => made(py, &self.metadata, || objects::dict(py)),
        }
    }

    #[pyo3(signature = (sender, recipient = None))]
    fn follow(&self, py: Python<'_>, sender: &str, recipient: Option<&str>) -> PyResult<MessageContext> {
        let context = self.context(py)?;
        let context = &context.get().0;
        let hops = context.hops().saturating_add(1);
        let (trace_id, deadline) = (context.trace_id(), context.deadline());
        make(sender, recipient.unwrap_or_default(), trace_id, Some(self.id), deadline, hops)
    }

    fn __eq__(&self, py: Python<'_>, other: &Bound<'_, PyAny>) -> PyResult<bool> {
        let Ok(other) = other.cast::<Self>() else { return Ok(false) };
        let other = other.get();
        if (self.id, self.kind) != (other.id, other.kind) || self.seconds(py)? != other.seconds(py)? {
            return Ok(false);
        }
        Ok(self.context(py)?.get() == other.context(py)?.get()
            && self.metadata(py)?.eq(other.metadata(py)?)?
            && self.content(py)?.eq(other.content(py)?)?)
    }

    fn __hash__(&self) -> u64 {
        // The last bits of an id are chance.
        u64::try_from(self.id & u128::from(u64::MAX)).unwrap_or(0)
    }

    fn __repr__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        let context = self.context(py)?;
        let (context, kind) = (&context.get().0, self.kind.name());
        let id = uuid::format(self.id);
        let (sender, recipient) = (context.sender(), context.recipient());
        let to = if recipient.is_empty() { String::new() } else { format!(" to {recipient}") };
        objects::text(py, &format!("<Message {kind} {id} from {sender}{to}>"))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let json = objects::tuple(slf.py(), [slf.get().to_json(slf.py())].into_iter())?;
        objects::pair(slf.get_type().getattr("from_json")?, json.into_any())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(self.metadata.get())?;
        match &self.body {
            Body::Built(built) => {
                visit.call(&built.content)?;
                visit.call(&built.metadata)
            }
            Body::Received(source) => visit.call(source.content.get()),
        }
    }
}

impl Message {
    /// The message that all of `text` is; `place` tells where in what was received one of its bytes was.
    pub fn received(py: Python<'_>, text: Text, place: impl FnOnce(usize) -> usize) -> PyResult<Self> {
        let found = read(py, &text, place)?;
        let size = text.bytes(py)?.len();
        let (context, content, json) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        let body = Body::Received(Source { text, size, found, context, content, json });
        Ok(Self { id: found.id, kind: found.kind, body, metadata: OnceLock::new() })
    }

    /// The message that all of `data` is as `MessagePack`, which began at the byte `offset` of what was received.
    pub fn translated(py: Python<'_>, data: &[u8], offset: usize) -> PyResult<Self> {
        let json =
            msgpack::to_json(data).map_err(|fault| error::message(py, fault, data, fault.at + offset))?;
        let text = Text::Bytes(objects::bytes(py, &json)?.unbind());
        Self::received(py, text, |at| msgpack::place(data, at) + offset)
    }

    /// As JSON; of a built message the bytes are kept.
    pub fn json<'t>(&'t self, py: Python<'t>) -> PyResult<&'t [u8]> {
        match &self.body {
            Body::Received(source) => source.text.bytes(py),
            Body::Built(built) => {
                if let Some(json) = built.json.get() {
                    return Ok(json.as_bytes(py));
                }
                let fresh = self.encode(py, built)?.unbind();
                Ok(built.json.get_or_init(|| fresh).as_bytes(py))
            }
        }
    }

    /// Its bytes as JSON. Of a message that was received nothing is touched but the message.
    pub fn size(&self, py: Python<'_>) -> PyResult<usize> {
        match &self.body {
            Body::Received(source) => Ok(source.size),
            Body::Built(_) => Ok(self.json(py)?.len()),
        }
    }

    /// Its id.
    pub const fn id(&self) -> u128 {
        self.id
    }

    /// How many messages caused one another before it, and when it is too late for it. Makes no objects.
    pub fn limits(&self, py: Python<'_>) -> PyResult<(u8, Option<f64>)> {
        match &self.body {
            Body::Built(built) => {
                let context = &built.context.get().0;
                Ok((context.hops(), context.deadline()))
            }
            Body::Received(Source { found, .. }) if found.deadline.is_empty() => Ok((found.hops, None)),
            Body::Received(source) => {
                let bytes = source.text.bytes(py)?;
                Ok((source.found.hops, message::seconds(bytes, source.found.deadline)))
            }
        }
    }

    /// Without a timestamp of its own, that of its id.
    fn seconds(&self, py: Python<'_>) -> PyResult<Option<f64>> {
        #[allow(clippy::cast_precision_loss, reason = "48 bits fit")]
        let of_id = |milliseconds| milliseconds as f64 / 1000.0;
        let own = match &self.body {
            Body::Built(built) => built.timestamp,
            Body::Received(source) => message::seconds(source.text.bytes(py)?, source.found.timestamp),
        };
        Ok(own.or_else(|| uuid::milliseconds(self.id).map(of_id)))
    }

    fn encode<'py>(&self, py: Python<'py>, built: &Built) -> PyResult<Bound<'py, PyBytes>> {
        let (timestamp, context) = (built.timestamp, &built.context.get().0);
        let header = Header { id: self.id, kind: self.kind, timestamp, context };
        let content = built.content.bind(py);
        let text = content.cast_exact::<PyString>().map(|text| text.to_str()).ok().transpose()?;
        let mut out = Vec::new();
        let length = header.bound() + METADATA + text.map_or(0, message::text_room);
        if out.try_reserve(length).is_err() {
            return Err(pyo3::exceptions::PyMemoryError::new_err(()));
        }
        header.write(&mut out);
        // What was made because somebody has asked for it may have got something in it.
        let metadata =
            built.metadata.as_ref().or_else(|| self.metadata.get()).map(|metadata| metadata.bind(py));
        if let Some(metadata) = metadata.filter(|metadata| !metadata.is_empty()) {
            out.extend_from_slice(b",\"metadata\":");
            if !flat::write(&mut out, metadata)? {
                out.extend_from_slice(dump(metadata, "/metadata")?.as_bytes());
            }
        }
        out.extend_from_slice(b",\"content\":");
        if let Some(text) = text {
            message::write_text(&mut out, text);
        } else if !flat::write(&mut out, content)? {
            let tree = dump(content, "/content")?;
            return objects::concatenated(py, &[&out, tree.as_bytes(), b"}"]);
        }
        out.push(b'}');
        objects::bytes(py, &out)
    }
}

impl Source {
    fn read_context<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, MessageContext>> {
        let (bytes, found) = (self.text.bytes(py)?, &self.found);
        // Identifiers are ASCII.
        let part = |span: Span| std::str::from_utf8(span.of(bytes)).unwrap_or_default();
        let (sender, recipient) = (part(found.sender), part(found.recipient));
        let deadline = message::seconds(bytes, found.deadline);
        let context = make(sender, recipient, part(found.trace_id), found.parent, deadline, found.hops)?;
        Bound::new(py, context)
    }

    /// What stands in a part of the text.
    fn decode<'py>(&self, py: Python<'py>, part: Span) -> PyResult<Bound<'py, PyAny>> {
        match part.of(self.text.bytes(py)?) {
            [b'"', plain @ .., b'"'] if !plain.contains(&b'\\') => Ok(objects::utf8(py, plain)?.into_any()),
            json => objects::call(codec(py, &LOADS, "loads")?, objects::bytes(py, json)?.as_any()),
        }
    }
}

/// Check a text; `place` tells where in what was received one of its bytes was.
fn read(py: Python<'_>, text: &Text, place: impl FnOnce(usize) -> usize) -> PyResult<Received> {
    let bytes = text.bytes(py)?;
    let read = match text {
        Text::Bytes(_) => message::read(bytes),
        Text::Str(text) => message::read_text(text.to_str(py)?),
    };
    read.map_err(|fault| error::message(py, fault, bytes, place(fault.at)))
}

/// What was made before, or is now. Of two threads that make it at the same time one is late.
fn made<'py, T>(
    py: Python<'py>,
    place: &OnceLock<Py<T>>,
    make: impl FnOnce() -> PyResult<Bound<'py, T>>,
) -> PyResult<Bound<'py, T>> {
    if let Some(found) = place.get() {
        return Ok(found.bind(py).clone());
    }
    let fresh = make()?;
    match place.set(fresh.clone().unbind()) {
        Ok(()) => Ok(fresh),
        Err(_) => Ok(place.get().map_or(fresh, |found| found.bind(py).clone())),
    }
}

/// Bytes for metadata, which mostly has few members.
const METADATA: usize = 128;

static LOADS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static DUMPS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// A function of orjson: nobody makes trees faster.
fn codec<'py>(
    py: Python<'py>,
    place: &'static PyOnceLock<Py<PyAny>>,
    name: &str,
) -> PyResult<&'py Bound<'py, PyAny>> {
    Ok(place.get_or_try_init(py, || Ok::<_, PyErr>(py.import("orjson")?.getattr(name)?.unbind()))?.bind(py))
}

/// A tree as JSON that can be read again as what it was.
fn dump<'py>(tree: &Bound<'py, PyAny>, pointer: &str) -> PyResult<Bound<'py, PyBytes>> {
    let py = tree.py();
    let json = objects::call(codec(py, &DUMPS, "dumps")?, tree)?.cast_into::<PyBytes>()?;
    // The message is a level, too.
    let shape = message::shape(json.as_bytes(), LEVELS - 1);
    if shape.deep {
        return Err(error::invalid(py, pointer, &message::Problem::Depth.to_string()));
    }
    // orjson writes null for a float that JSON does not have.
    if shape.null && !finite::all(tree, LEVELS)? {
        return Err(error::invalid(py, pointer, "NaN and infinity have no JSON"));
    }
    Ok(json)
}

#[allow(clippy::cast_possible_truncation, reason = "it is small")]
const LEVELS: u32 = message::DEPTH as u32;
