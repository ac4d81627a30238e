//! The context of messages.

use std::hash::{DefaultHasher, Hash, Hasher};

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyTuple};
use tekton_kernel::message::Context;
use tekton_kernel::uuid;

use crate::{error, ids, objects};

/// Who says it to whom, and as part of what.
#[pyclass(frozen, eq, module = "tekton._native")]
#[derive(PartialEq)]
pub struct MessageContext(pub Context);

#[pymethods]
impl MessageContext {
    #[new]
    #[pyo3(signature = (sender, recipient = None, trace_id = None, *, parent_id = None, deadline = None, hops = 0))]
    fn new(
        py: Python<'_>,
        sender: &str,
        recipient: Option<&str>,
        trace_id: Option<&str>,
        parent_id: Option<&str>,
        deadline: Option<f64>,
        hops: u8,
    ) -> PyResult<Self> {
        let parent = parent_id.map(|id| uuid::parse(id).ok_or_else(|| error::no_uuid(id))).transpose()?;
        // None is nobody; an empty name is a mistake.
        for (name, text) in [("recipient", recipient), ("trace_id", trace_id)] {
            if text == Some("") {
                return Err(no_identifier(name));
            }
        }
        let recipient = recipient.unwrap_or_default();
        match trace_id {
            Some(trace_id) => make(sender, recipient, trace_id, parent, deadline, hops),
            None => in_trace(py, |trace_id| make(sender, recipient, trace_id, parent, deadline, hops)),
        }
    }

    #[getter]
    fn sender<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        objects::text(py, self.0.sender())
    }

    #[getter]
    fn recipient<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyString>>> {
        some(py, self.0.recipient())
    }

    #[getter]
    fn trace_id<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyString>>> {
        some(py, self.0.trace_id())
    }

    #[getter]
    fn parent_id<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyString>>> {
        self.0.parent().map(|id| objects::utf8(py, &uuid::characters(id))).transpose()
    }

    #[getter]
    fn deadline<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.0.deadline().map(|deadline| objects::float(py, deadline)).transpose()
    }

    #[getter]
    const fn hops(&self) -> u8 {
        self.0.hops()
    }

    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.0.json().hash(&mut hasher);
        hasher.finish()
    }

    fn __repr__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        objects::text(py, &format!("MessageContext({})", self.0.json()))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let context = &slf.get().0;
        let parent = context.parent().map(uuid::format);
        let fields = (context.sender(), filled(context.recipient()), filled(context.trace_id()), parent);
        let rebuild = slf.get_type().getattr("_rebuild")?;
        (rebuild, (fields.0, fields.1, fields.2, fields.3, context.deadline(), context.hops()))
            .into_pyobject(slf.py())
    }

    #[staticmethod]
    fn _rebuild(
        sender: &str,
        recipient: Option<&str>,
        trace_id: Option<&str>,
        parent_id: Option<&str>,
        deadline: Option<f64>,
        hops: u8,
    ) -> PyResult<Self> {
        let parent = parent_id.map(|id| uuid::parse(id).ok_or_else(|| error::no_uuid(id))).transpose()?;
        make(sender, recipient.unwrap_or_default(), trace_id.unwrap_or_default(), parent, deadline, hops)
    }
}

/// A context; empty texts are absent.
pub fn make(
    sender: &str,
    recipient: &str,
    trace_id: &str,
    parent: Option<u128>,
    deadline: Option<f64>,
    hops: u8,
) -> PyResult<MessageContext> {
    let context = Context::new(sender, recipient, trace_id, parent, deadline, hops);
    context.map(MessageContext).map_err(|refusal| no_identifier(refusal.0))
}

fn no_identifier(name: &str) -> PyErr {
    let what =
        if name == "deadline" { "finite" } else { "1 to 255 characters of visible ASCII, neither \" nor \\" };
    error::not_acceptable(name, what)
}

const fn filled(text: &str) -> Option<&str> {
    if text.is_empty() { None } else { Some(text) }
}

fn some<'py>(py: Python<'py>, text: &str) -> PyResult<Option<Bound<'py, PyString>>> {
    filled(text).map(|text| objects::text(py, text)).transpose()
}

static CURRENT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Call `with` the id of the trace that the caller is part of, or else with that of a new one.
fn in_trace<T>(py: Python<'_>, with: impl FnOnce(&str) -> PyResult<T>) -> PyResult<T> {
    let current = CURRENT.get_or_try_init(py, || {
        let current = py.import("tekton.utils.trace_context")?.getattr("CURRENT")?;
        current.getattr("get").map(Bound::unbind)
    })?;
    let place = current.bind(py).call0()?;
    if place.is_none() {
        let id = uuid::hexadecimal(ids::random());
        return with(std::str::from_utf8(&id).unwrap_or_default());
    }
    let id = place.getattr(pyo3::intern!(py, "trace_id"))?.cast_into::<PyString>()?;
    with(id.to_str()?)
}
