//! From `Mapping[str, Sequence[str]]` to node numbers: the raw loops of this crate.
//!
//! Turning names into numbers is most of the time of a resolve, so the walk borrows everything and calls the C API
//! itself. What makes that sound:
//!
//! * The walk never runs Python code: it looks at exact dicts, at lists and tuples through their own storage, and at
//!   the text of str objects. It never hashes or compares through Python, and makes no container, so no garbage
//!   collection (whose finalizers could do anything) starts. With the GIL held nothing can change under it.
//! * Whatever needs Python code to be read (other mappings and sequences) is copied into a private dict of
//!   tuples first. Without a GIL everything is, because other threads may change what they share with us.
//! * The names that leave the walk are owned references.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyMapping, PyString, PyTuple};
use tekton_kernel::graph::identity::{self, IdentityTable, Packed, Wide};
use tekton_kernel::graph::{Csr, CsrBuilder, TooLarge};

use crate::error;
use crate::names::Names;
use crate::objects;

/// Read a graph. Keys come first in the numbering, in dict order; then names that are only dependencies, in order
/// of appearance.
pub fn read(graph: &Bound<'_, PyMapping>) -> PyResult<(Names, Csr)> {
    match graph.cast_exact::<PyDict>() {
        Ok(dict) if !cfg!(Py_GIL_DISABLED) => match walk(dict) {
            Err(Halt::Foreign) => read_private(&private_copy(graph)?),
            Err(Halt::Error(error)) => Err(error),
            Ok(read) => Ok(read),
        },
        _ => read_private(&private_copy(graph)?),
    }
}

fn read_private(graph: &Bound<'_, PyDict>) -> PyResult<(Names, Csr)> {
    walk(graph).map_err(|halt| match halt {
        Halt::Error(error) => error,
        Halt::Foreign => error::with_message::<PyTypeError>("dependencies must be sequences"),
    })
}

/// The same graph as an exact dict of exact tuples that nobody else knows.
fn private_copy<'py>(graph: &Bound<'py, PyMapping>) -> PyResult<Bound<'py, PyDict>> {
    let copy = objects::dict(graph.py())?;
    for item in graph.items()? {
        let (name, dependencies): (Bound<'py, PyAny>, Bound<'py, PyAny>) = item.extract()?;
        copy.set_item(&name, private_tuple(&name, &dependencies)?)?;
    }
    Ok(copy)
}

fn private_tuple<'py>(
    name: &Bound<'py, PyAny>,
    dependencies: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyTuple>> {
    let py = name.py();
    // A str is a sequence of str: "hermes" in place of ["hermes"] would become six dependencies.
    if dependencies.is_instance_of::<PyString>() {
        return Err(not_a_sequence(name, dependencies));
    }
    let items = dependencies.try_iter().map_err(|error| {
        if error.is_instance_of::<PyTypeError>(py) { not_a_sequence(name, dependencies) } else { error }
    })?;
    objects::tuple(py, items.collect::<PyResult<Vec<_>>>()?.into_iter().map(Ok))
}

fn not_a_sequence(name: &Bound<'_, PyAny>, found: &Bound<'_, PyAny>) -> PyErr {
    let texts = || Ok((text(&name.repr()?)?, text(&found.get_type().name()?)?));
    match texts() {
        Ok((name, kind)) => error::with_message::<PyTypeError>(&format!(
            "the dependencies of {name} must be a sequence, not {kind}"
        )),
        Err(error) => error,
    }
}

/// To format a Python object is to panic when that fails.
fn text(object: &Bound<'_, PyString>) -> PyResult<String> {
    object.to_str().map(str::to_owned)
}

/// Why the walk stopped.
enum Halt {
    /// Something that only Python code can read.
    Foreign,
    Error(PyErr),
}

impl From<PyErr> for Halt {
    fn from(error: PyErr) -> Self {
        Self::Error(error)
    }
}

fn walk(graph: &Bound<'_, PyDict>) -> Result<(Names, Csr), Halt> {
    let keys = Keys::of(graph)?;
    if keys.names.len() <= identity::PACKED_ENTRIES && identity::packable(keys.address_bits) {
        Walk::<Packed>::new(graph.py(), keys).run()
    } else {
        Walk::<Wide>::new(graph.py(), keys).run()
    }
}

/// The keys of the graph (owned) and its values (borrowed from the dict).
struct Keys {
    names: Names,
    values: Vec<*mut ffi::PyObject>,
    /// All bits that occur in the address of a name.
    address_bits: usize,
}

impl Keys {
    fn of(graph: &Bound<'_, PyDict>) -> PyResult<Self> {
        let size = graph.len();
        let mut keys =
            Self { names: Names::with_capacity(size), values: Vec::with_capacity(size), address_bits: 0 };
        let (mut key, mut value) = (std::ptr::null_mut(), std::ptr::null_mut());
        let mut position = 0;
        // SAFETY: `graph` is a dict and does not change in the loop, which runs no Python code (see the module).
        // Key and value are then valid borrowed references whenever the call returns non-zero.
        while unsafe { ffi::PyDict_Next(graph.as_ptr(), &raw mut position, &raw mut key, &raw mut value) }
            != 0
        {
            // SAFETY: `key` is valid, as above.
            let name = unsafe { as_str(graph.py(), key) }?;
            keys.names.push(name.to_owned().unbind());
            keys.values.push(value);
            keys.address_bits |= key.addr();
        }
        Ok(keys)
    }
}

/// `object` as a str (or of a subclass); `TypeError` otherwise.
///
/// # Safety
/// `object` is a valid reference, and stays so while the result is used.
#[inline]
unsafe fn as_str<'a>(py: Python<'_>, object: *mut ffi::PyObject) -> PyResult<Borrowed<'a, '_, PyString>> {
    // SAFETY: `object` is valid, so it has a type.
    let exact = unsafe { ffi::Py_TYPE(object) == &raw mut ffi::PyUnicode_Type };
    // SAFETY: `object` is valid for as long as the caller promises.
    let object = unsafe { Borrowed::from_ptr(py, object) };
    if exact || object.is_instance_of::<PyString>() {
        // SAFETY: it is a str.
        return Ok(unsafe { object.cast_unchecked() });
    }
    Err(not_a_str(&object))
}

#[cold]
fn not_a_str(object: &Bound<'_, PyAny>) -> PyErr {
    match object.get_type().name().and_then(|name| text(&name)) {
        Ok(name) => error::with_message::<PyTypeError>(&format!("component ids must be str, not {name}")),
        Err(error) => error,
    }
}

struct Walk<'py, T> {
    py: Python<'py>,
    numbers: T,
    /// Made when the first name is met that is not a key object.
    texts: Option<Texts>,
    names: Names,
    values: Vec<*mut ffi::PyObject>,
    edges: CsrBuilder,
}

impl<'py, T: IdentityTable> Walk<'py, T> {
    fn new(py: Python<'py>, keys: Keys) -> Self {
        let mut numbers = T::with_capacity(keys.names.len());
        for (name, number) in keys.names.iter().zip(0..) {
            numbers.insert(name.as_ptr().addr(), number);
        }
        let edges = CsrBuilder::with_capacity(keys.names.len());
        Self { py, numbers, texts: None, names: keys.names, values: keys.values, edges }
    }

    fn run(mut self) -> Result<(Names, Csr), Halt> {
        let values = std::mem::take(&mut self.values);
        for (place, row) in values.iter().enumerate() {
            if let Some(later) = values.get(place + AHEAD) {
                prefetch(*later);
            }
            // SAFETY: the values are borrowed from the dict, which has not changed since `Keys::of`: no Python code
            // ran in between (see the module).
            unsafe { self.row(*row) }?;
        }
        let graph = self.edges.finish(self.names.len()).map_err(error::too_large)?;
        Ok((self.names, graph))
    }

    /// # Safety
    /// `row` is a valid reference.
    #[inline]
    unsafe fn row(&mut self, row: *mut ffi::PyObject) -> Result<(), Halt> {
        // SAFETY: `row` is valid and of the type that was checked, the indices are below its size, and it does not
        // change in the loops, which run no Python code. So the calls succeed and give valid borrowed references.
        unsafe {
            let kind = ffi::Py_TYPE(row);
            if kind == &raw mut ffi::PyList_Type
                || kind != &raw mut ffi::PyTuple_Type && ffi::PyList_Check(row) != 0
            {
                for index in 0..ffi::PyList_Size(row) {
                    self.edge(ffi::PyList_GetItem(row, index))?;
                }
            } else if ffi::PyTuple_Check(row) != 0 {
                for index in 0..ffi::PyTuple_Size(row) {
                    self.edge(ffi::PyTuple_GetItem(row, index))?;
                }
            } else {
                return Err(Halt::Foreign);
            }
        }
        self.edges.end_row().map_err(error::too_large)?;
        Ok(())
    }

    /// # Safety
    /// `dependency` is a valid reference.
    #[inline]
    unsafe fn edge(&mut self, dependency: *mut ffi::PyObject) -> PyResult<()> {
        let number = match self.numbers.get(dependency.addr()) {
            Some(number) => number,
            // SAFETY: `dependency` is valid.
            None => unsafe { self.number_by_text(dependency) }?,
        };
        self.edges.push(number);
        Ok(())
    }

    /// The number of a name that is not one of the key objects; a new one when its text is new.
    ///
    /// # Safety
    /// `dependency` is a valid reference.
    #[cold]
    #[inline(never)]
    unsafe fn number_by_text(&mut self, dependency: *mut ffi::PyObject) -> PyResult<u32> {
        // SAFETY: `dependency` is valid and stays so, because the walk runs no Python code.
        let name = unsafe { as_str(self.py, dependency) }?;
        let texts = match &mut self.texts {
            Some(texts) => texts,
            empty => empty.insert(Texts::of(self.py, &self.names)?),
        };
        let text = Text::of(name)?;
        let hash = texts.hash(&text);
        if let Some(number) = texts.get(hash, &text) {
            return Ok(number);
        }
        let number = u32::try_from(self.names.len()).map_err(|_| error::too_large(TooLarge))?;
        texts.add(hash, text, number);
        self.names.push(name.to_owned().unbind());
        Ok(number)
    }
}

/// So many rows are on their way from memory while one is read.
const AHEAD: usize = 8;

/// Ask for the head of an object that will be looked at soon.
#[inline]
fn prefetch(object: *const ffi::PyObject) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch may be given any address; it reads nothing that the program could see.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(object.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = object;
}

/// The UTF-8 text of a str object that outlives it.
struct Text {
    start: *const u8,
    length: usize,
}

impl Text {
    /// `UnicodeEncodeError` for lone surrogates.
    fn of(name: Borrowed<'_, '_, PyString>) -> PyResult<Self> {
        let text = name.to_str()?;
        Ok(Self { start: text.as_ptr(), length: text.len() })
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: a str object keeps its UTF-8 form, unchanged, as long as it lives. Either the walk owns it, or its
        // text is dropped before anything could let go of it.
        unsafe { std::slice::from_raw_parts(self.start, self.length) }
    }
}

/// From text to number: hashes the UTF-8 form, which is several times cheaper than the hash that a str caches.
struct Texts {
    by_number: Vec<Text>,
    numbers: HashTable<u32>,
    hasher: RandomState,
}

impl Texts {
    fn of(py: Python<'_>, names: &Names) -> PyResult<Self> {
        let size = names.len();
        let mut texts = Self {
            by_number: Vec::with_capacity(size),
            numbers: HashTable::with_capacity(size),
            hasher: RandomState::default(),
        };
        for (name, number) in names.iter().zip(0..) {
            let text = Text::of(name.bind_borrowed(py))?;
            texts.add(texts.hash(&text), text, number);
        }
        Ok(texts)
    }

    fn hash(&self, text: &Text) -> u64 {
        self.hasher.hash_one(text.bytes())
    }

    fn get(&self, hash: u64, text: &Text) -> Option<u32> {
        self.numbers.find(hash, |number| self.by_number[*number as usize].bytes() == text.bytes()).copied()
    }

    /// Numbers are given in order. The first of several names with one text is found (str subclasses may compare
    /// as they like).
    fn add(&mut self, hash: u64, text: Text, number: u32) {
        if self.get(hash, &text).is_none() {
            let Self { by_number, numbers, hasher } = self;
            numbers
                .insert_unique(hash, number, |number| hasher.hash_one(by_number[*number as usize].bytes()));
        }
        self.by_number.push(text);
    }
}
