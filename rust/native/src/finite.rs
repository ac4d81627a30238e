//! Floats that JSON does not have, in trees that orjson writes: it makes null of them.
//!
//! Who sends a null pays for this walk, so it calls the C API itself where it meets what most trees are made of. What
//! makes that sound: no Python code runs, nothing is made, and the interpreter lock is held, so that nothing changes
//! under it. Without a GIL, and for anything else, the tree is walked with the means of Python.

use std::ptr;

use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyFloat, PyInt, PyList, PyString, PyTuple, PyType};

use crate::objects;

/// True when all floats of `tree` are finite. Looks at as many levels as can have been written.
pub fn all(tree: &Bound<'_, PyAny>, levels: u32) -> PyResult<bool> {
    if !cfg!(Py_GIL_DISABLED) {
        // SAFETY: `tree` is valid.
        if let Ok(finite) = unsafe { plain(tree.as_ptr(), levels) } {
            return Ok(finite);
        }
    }
    any_tree(tree, levels)
}

/// Something that only Python code can look into.
struct Foreign;

/// As `all`, of None, and of str, int, float, list, tuple and dict, but not of their subclasses.
///
/// # Safety
/// `object` is a valid reference.
unsafe fn plain(object: *mut ffi::PyObject, levels: u32) -> Result<bool, Foreign> {
    // SAFETY: `object` is valid, so it has a type; those of the interpreter stay where they are. What is in a list, a
    // tuple or a dict stays valid while that does not change, and nothing does (see the module). An exact float has
    // its value without a call of Python code.
    unsafe {
        let kind = ffi::Py_TYPE(object);
        if kind == &raw mut ffi::PyUnicode_Type
            || kind == &raw mut ffi::PyLong_Type
            || kind == &raw mut ffi::PyBool_Type
            || object == ffi::Py_None()
            || levels == 0
        {
            return Ok(true);
        }
        if kind == &raw mut ffi::PyFloat_Type {
            return Ok(ffi::PyFloat_AsDouble(object).is_finite());
        }
        if kind == &raw mut ffi::PyDict_Type {
            let (mut position, mut value) = (0, ptr::null_mut());
            while ffi::PyDict_Next(object, &raw mut position, ptr::null_mut(), &raw mut value) != 0 {
                if !plain(value, levels - 1)? {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        let item = match kind {
            _ if kind == &raw mut ffi::PyList_Type => ffi::PyList_GetItem,
            _ if kind == &raw mut ffi::PyTuple_Type => ffi::PyTuple_GetItem,
            _ => return Err(Foreign),
        };
        for place in 0..ffi::Py_SIZE(object) {
            if !plain(item(object, place), levels - 1)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn any_tree(tree: &Bound<'_, PyAny>, levels: u32) -> PyResult<bool> {
    if let Ok(float) = tree.cast::<PyFloat>() {
        return Ok(float.value().is_finite());
    }
    let Some(inside) = parts(tree)?.filter(|_| levels > 0) else { return Ok(true) };
    for part in inside.try_iter()? {
        if !any_tree(&part?, levels - 1)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What orjson writes when it writes `tree`, if that is made of parts.
fn parts<'py>(tree: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = tree.py();
    if tree.is_none() || tree.is_instance_of::<PyString>() || tree.is_instance_of::<PyInt>() {
        return Ok(None);
    }
    if let Ok(dict) = tree.cast::<PyDict>() {
        return Ok(Some(dict.values().into_any()));
    }
    if tree.is_instance_of::<PyList>() || tree.is_instance_of::<PyTuple>() {
        return Ok(Some(tree.clone()));
    }
    if tree.is_instance(ENUM.import(py, "enum", "Enum")?)? {
        let value = tree.getattr(intern!(py, "value"))?;
        return Ok(Some(objects::list(py, std::iter::once(Ok(value)))?.into_any()));
    }
    match tree.getattr_opt(intern!(py, "__dataclass_fields__"))? {
        Some(fields) => Ok(Some(members(tree, &fields)?)),
        None => Ok(None),
    }
}

/// The fields of a dataclass; those whose name begins with an underscore are not written.
fn members<'py>(object: &Bound<'py, PyAny>, fields: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let members = PyList::empty(object.py());
    for name in fields.try_iter()? {
        let name = name?.cast_into::<PyString>()?;
        if let Some(member) = object.getattr_opt(&name)?
            && !name.to_str()?.starts_with('_')
        {
            members.append(member)?;
        }
    }
    Ok(members.into_any())
}

static ENUM: PyOnceLock<Py<PyType>> = PyOnceLock::new();
