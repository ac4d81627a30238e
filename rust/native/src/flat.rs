//! Small objects of texts and whole numbers, as most metadata is: written here, without a call of orjson and its bytes.

use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyInt, PyString};
use tekton_kernel::message::{text_room, write_text, write_unsigned};

/// With more members than this, orjson is faster.
const MOST: usize = 16;

/// Append `object` as JSON, as orjson writes it. False when it is more than a small and flat dict of exact types:
/// nothing is appended then. `MemoryError` when there is no room.
pub fn write(out: &mut Vec<u8>, object: &Bound<'_, PyAny>) -> PyResult<bool> {
    let Ok(members) = object.cast_exact::<PyDict>() else { return Ok(false) };
    let start = out.len();
    let flat = members.len() <= MOST && write_members(out, members)?;
    if !flat {
        out.truncate(start);
    }
    Ok(flat)
}

fn write_members(out: &mut Vec<u8>, members: &Bound<'_, PyDict>) -> PyResult<bool> {
    let mut separator = b'{';
    for (key, value) in members {
        out.push(separator);
        separator = b',';
        if !write_text_of(out, &key)? {
            return Ok(false);
        }
        out.push(b':');
        if !write_text_of(out, &value)? && !write_scalar(out, &value) {
            return Ok(false);
        }
    }
    if members.is_empty() {
        out.push(b'{');
    }
    out.push(b'}');
    Ok(true)
}

/// False when `object` is no str, or has no UTF-8.
fn write_text_of(out: &mut Vec<u8>, object: &Bound<'_, PyAny>) -> PyResult<bool> {
    let Ok(text) = object.cast_exact::<PyString>() else { return Ok(false) };
    let Ok(text) = text.to_str() else { return Ok(false) };
    out.try_reserve(text_room(text)).map_err(|_| PyMemoryError::new_err(()))?;
    write_text(out, text);
    Ok(true)
}

/// False when `value` is none of those that are written here.
fn write_scalar(out: &mut Vec<u8>, value: &Bound<'_, PyAny>) -> bool {
    if let Ok(number) = value.cast_exact::<PyInt>() {
        let Ok(number) = number.extract::<i64>() else { return false };
        if number < 0 {
            out.push(b'-');
        }
        write_unsigned(out, number.unsigned_abs());
    } else if let Ok(truth) = value.cast_exact::<PyBool>() {
        out.extend_from_slice(if truth.is_true() { b"true" } else { b"false" });
    } else if value.is_none() {
        out.extend_from_slice(b"null");
    } else {
        return false;
    }
    true
}
