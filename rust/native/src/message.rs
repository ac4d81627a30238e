//! Messages: built from objects, or received as text that was checked and taken apart, and stays as it is.
#![allow(clippy::similar_names, reason = "content and context are called so")]

use std::sync::OnceLock;

use pyo3::exceptions::PyTypeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};
use tekton_kernel::message::{self, Header, Kind, Received, Span};
use tekton_kernel::uuid;

use crate::message_context::{MessageContext, make};
use crate::message_type;
use crate::{error, ids, objects};

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
}

/// A text, and where in it things are.
struct Source {
    text: Text,
    found: Received,
    context: Made<MessageContext>,
    content: Made<PyAny>,
    /// Of a text that is a str.
    json: Made<PyBytes>,
}

enum Text {
    Bytes(Py<PyBytes>),
    Str(Py<PyString>),
}

impl Text {
    fn of(data: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = data.cast_exact::<PyBytes>() {
            return Ok(Self::Bytes(bytes.clone().unbind()));
        }
        if let Ok(text) = data.cast::<PyString>() {
            return Ok(Self::Str(text.clone().unbind()));
        }
        // Others can change, so they are copied.
        let bytes = data.py().get_type::<PyBytes>();
        if data.cast::<pyo3::types::PyInt>().is_ok() || data.try_iter().is_err() {
            return Err(error::with_message::<PyTypeError>("a message is read from bytes or str"));
        }
        let view = data.py().import("builtins")?.getattr("memoryview")?.call1((data,))?;
        Ok(Self::Bytes(bytes.call1((view,))?.cast_into::<PyBytes>()?.unbind()))
    }

    /// Its UTF-8; of a str, which keeps it, `UnicodeEncodeError` for lone surrogates.
    fn bytes<'t>(&'t self, py: Python<'t>) -> PyResult<&'t [u8]> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.as_bytes(py)),
            Self::Str(text) => Ok(text.to_str(py)?.as_bytes()),
        }
    }

    fn read(&self, py: Python<'_>) -> PyResult<Received> {
        let (read, bytes) = match self {
            Self::Bytes(bytes) => {
                let bytes = bytes.as_bytes(py);
                (message::utf8(bytes).and_then(message::read), bytes)
            }
            Self::Str(text) => {
                let text = text.to_str(py)?;
                (message::read(text), text.as_bytes())
            }
        };
        read.map_err(|fault| error::message(py, fault, bytes))
    }
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
        let body = Body::Built(Built { timestamp, context, content, metadata });
        Ok(Self { id, kind, body, metadata: OnceLock::new() })
    }

    #[staticmethod]
    fn from_json(data: &Bound<'_, PyAny>) -> PyResult<Self> {
        let text = Text::of(data)?;
        let found = text.read(data.py())?;
        let (context, content, json) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        let body = Body::Received(Source { text, found, context, content, json });
        Ok(Self { id: found.id, kind: found.kind, body, metadata: OnceLock::new() })
    }

    fn to_json<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let source = match &self.body {
            Body::Built(built) => return self.encode(py, built),
            Body::Received(source) => source,
        };
        match &source.text {
            Text::Bytes(bytes) => Ok(bytes.bind(py).clone()),
            Text::Str(text) => made(py, &source.json, || objects::bytes(py, text.to_str(py)?.as_bytes())),
        }
    }

    #[staticmethod]
    fn peek<'py>(data: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyTuple>> {
        let py = data.py();
        let text = Text::of(data)?;
        let bytes = text.bytes(py)?;
        let route = message::route(bytes).map_err(|fault| error::message(py, fault, bytes))?;
        route_tuple(py, route.kind, route.sender.of(bytes), route.recipient.of(bytes))
    }

    #[getter]
    fn route<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        match &self.body {
            Body::Built(built) => {
                let context = &built.context.get().0;
                route_tuple(py, self.kind, context.sender().as_bytes(), context.recipient().as_bytes())
            }
            Body::Received(source) => {
                let (bytes, found) = (source.text.bytes(py)?, &source.found);
                route_tuple(py, self.kind, found.sender.of(bytes), found.recipient.of(bytes))
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
        // What was made because somebody has asked for it may have got something in it.
        let metadata = match built.metadata.as_ref().or_else(|| self.metadata.get()) {
            Some(metadata) if !metadata.bind(py).is_empty() => Some(dump(py, metadata.bind(py))?),
            _ => None,
        };
        let content = built.content.bind(py);
        let text = content.cast_exact::<PyString>().ok();
        let tree = if text.is_none() { Some(dump(py, content)?) } else { None };
        let text = text.map(|text| text.to_str()).transpose()?;
        let length = text.map_or(0, |text| text.len() + text.len() / 8)
            + tree.as_ref().map_or(0, |tree| tree.as_bytes().len())
            + metadata.as_ref().map_or(0, |metadata| metadata.as_bytes().len());
        let mut out = Vec::new();
        if out.try_reserve(header.bound() + length + 32).is_err() {
            return Err(pyo3::exceptions::PyMemoryError::new_err(()));
        }
        header.write(&mut out);
        if let Some(metadata) = metadata {
            out.extend_from_slice(b",\"metadata\":");
            out.extend_from_slice(metadata.as_bytes());
        }
        out.extend_from_slice(b",\"content\":");
        match (text, tree) {
            (Some(text), _) => message::write_text(&mut out, text),
            (None, tree) => out.extend_from_slice(tree.as_ref().map_or(b"null", |tree| tree.as_bytes())),
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
            json => codec(py, &LOADS, "loads")?.call1((objects::bytes(py, json)?,)),
        }
    }
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

fn route_tuple<'py>(
    py: Python<'py>,
    kind: Kind,
    sender: &[u8],
    recipient: &[u8],
) -> PyResult<Bound<'py, PyTuple>> {
    let sender = objects::utf8(py, sender)?.into_any();
    let recipient = match recipient {
        [] => py.None().into_bound(py),
        name => objects::utf8(py, name)?.into_any(),
    };
    objects::triple(&message_type::member(py, kind)?, &sender, &recipient)
}

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

fn dump<'py>(py: Python<'py>, tree: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    Ok(codec(py, &DUMPS, "dumps")?.call1((tree,))?.cast_into::<PyBytes>()?)
}
