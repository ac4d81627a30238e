//! `MessageType`, which stands in Python, where type checkers see it.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyString;
use tekton_kernel::message::Kind;

use crate::error;

static MEMBERS: PyOnceLock<Vec<Py<PyAny>>> = PyOnceLock::new();

/// The member that is this kind.
pub fn member(py: Python<'_>, kind: Kind) -> PyResult<Bound<'_, PyAny>> {
    let members = MEMBERS.get_or_try_init(py, || load(py))?;
    Ok(members[kind as usize].bind(py).clone())
}

fn load(py: Python<'_>) -> PyResult<Vec<Py<PyAny>>> {
    let class = py.import("tekton.mcp.message_type")?.getattr("MessageType")?;
    Kind::ALL.iter().map(|kind| Ok(class.call1((kind.name(),))?.unbind())).collect()
}

/// The kind that a member is, or its name.
pub fn kind(member: &Bound<'_, PyAny>) -> PyResult<Kind> {
    let members = MEMBERS.get(member.py()).into_iter().flatten();
    if let Some((_, kind)) = members.zip(Kind::ALL).find(|(known, _)| known.is(member)) {
        return Ok(kind);
    }
    let Ok(name) = member.cast::<PyString>() else {
        return Err(error::with_message::<PyTypeError>("message_type must be a MessageType"));
    };
    Kind::from_name(name.to_str()?.as_bytes()).ok_or_else(|| {
        error::not_acceptable("message_type", "request, response, event, notification, command or error")
    })
}
