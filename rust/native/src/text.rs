//! What is read: bytes or a str, which stay as they are, or a copy of what could change.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyString};

use crate::error;

/// A text.
pub enum Text {
    Bytes(Py<PyBytes>),
    Str(Py<PyString>),
}

impl Text {
    /// Of bytes, a str, or a buffer.
    pub fn of(data: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(text) = data.cast::<PyString>() {
            return Ok(Self::Str(text.clone().unbind()));
        }
        Ok(Self::Bytes(bytes(data, "a message is read from bytes or str")?.unbind()))
    }

    /// Its UTF-8; of a str, which keeps it, `UnicodeEncodeError` for lone surrogates.
    pub fn bytes<'t>(&'t self, py: Python<'t>) -> PyResult<&'t [u8]> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.as_bytes(py)),
            Self::Str(text) => Ok(text.to_str(py)?.as_bytes()),
        }
    }
}

/// The bytes that `data` is, or a copy of a buffer. `TypeError` with `refusal` for anything else.
pub fn bytes<'py>(data: &Bound<'py, PyAny>, refusal: &str) -> PyResult<Bound<'py, PyBytes>> {
    if let Ok(bytes) = data.cast_exact::<PyBytes>() {
        return Ok(bytes.clone());
    }
    if data.is_instance_of::<PyString>() || data.is_instance_of::<PyInt>() || data.try_iter().is_err() {
        return Err(error::with_message::<PyTypeError>(refusal));
    }
    let view = data.py().import("builtins")?.getattr("memoryview")?.call1((data,))?;
    Ok(data.py().get_type::<PyBytes>().call1((view,))?.cast_into::<PyBytes>()?)
}
