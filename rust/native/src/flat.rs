//! Small objects of texts and whole numbers, as most metadata is: written here, without a call of orjson and its bytes.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyInt, PyString};
use tekton_kernel::message::{write_text, write_unsigned};

/// With more members than this, orjson is faster.
const MOST: usize = 16;

/// Append `object` as JSON, as orjson writes it. False when it is more than a small and flat dict of exact types:
/// nothing is appended then.
pub fn write(out: &mut Vec<u8>, object: &Bound<'_, PyAny>) -> bool {
    let Ok(members) = object.cast_exact::<PyDict>() else { return false };
    let start = out.len();
    let flat = members.len() <= MOST && write_members(out, members).is_some();
    if !flat {
        out.truncate(start);
    }
    flat
}

fn write_members(out: &mut Vec<u8>, members: &Bound<'_, PyDict>) -> Option<()> {
    let mut separator = b'{';
    for (key, value) in members {
        out.push(separator);
        separator = b',';
        append_text(out, text(&key)?)?;
        out.push(b':');
        write_scalar(out, &value)?;
    }
    if members.is_empty() {
        out.push(b'{');
    }
    out.push(b'}');
    Some(())
}

fn write_scalar(out: &mut Vec<u8>, value: &Bound<'_, PyAny>) -> Option<()> {
    if let Some(text) = text(value) {
        append_text(out, text)?;
    } else if let Ok(number) = value.cast_exact::<PyInt>() {
        let number: i64 = number.extract().ok()?;
        if number < 0 {
            out.push(b'-');
        }
        write_unsigned(out, number.unsigned_abs());
    } else if let Ok(truth) = value.cast_exact::<PyBool>() {
        out.extend_from_slice(if truth.is_true() { b"true" } else { b"false" });
    } else if value.is_none() {
        out.extend_from_slice(b"null");
    } else {
        return None;
    }
    Some(())
}

/// None when there is no memory for it.
fn append_text(out: &mut Vec<u8>, text: &str) -> Option<()> {
    // A text mostly has few escapes.
    out.try_reserve(text.len() + text.len() / 8 + 32).ok()?;
    write_text(out, text);
    Some(())
}

/// None when it is no str, or has no UTF-8.
fn text<'t>(object: &'t Bound<'_, PyAny>) -> Option<&'t str> {
    object.cast_exact::<PyString>().ok()?.to_str().ok()
}
