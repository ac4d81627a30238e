//! Messages on their way.

use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyList, PyString, PyTuple};
use tekton_kernel::envelope::{self, BATCH_HEAD, Batch, Format, Found, Head};
use tekton_kernel::message;

use crate::message::Message;
use crate::text::{self, Text};
use crate::{error, objects, subject};

/// A message on its way. Numbers are numbers: most that are published are read by nobody, or written to a wire.
#[pyclass(frozen, module = "tekton._native")]
pub struct Envelope {
    #[pyo3(get)]
    subject: Py<PyString>,
    #[pyo3(get)]
    message: Py<Message>,
    #[pyo3(get)]
    reply: Option<Py<PyString>>,
    #[pyo3(get)]
    sequence: u64,
    time: f64,
    #[pyo3(get)]
    attempt: u32,
    #[pyo3(get)]
    stream: Option<Py<PyString>>,
}

#[pymethods]
impl Envelope {
    #[new]
    #[pyo3(signature = (subject, message, reply = None, sequence = 0, time = 0.0, attempt = 1, stream = None))]
    fn new(
        subject: Py<PyString>,
        message: Py<Message>,
        reply: Option<Py<PyString>>,
        sequence: u64,
        time: f64,
        attempt: u32,
        stream: Option<Py<PyString>>,
    ) -> PyResult<Self> {
        finite(time)?;
        Ok(Self { subject, message, reply, sequence, time, attempt, stream })
    }

    #[getter]
    fn time<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        objects::float(py, self.time)
    }

    #[getter]
    fn size(&self, py: Python<'_>) -> PyResult<usize> {
        self.message.get().size(py)
    }

    #[pyo3(signature = (sequence, time, *, attempt = 1, stream = None))]
    fn placed(
        &self,
        py: Python<'_>,
        sequence: u64,
        time: f64,
        attempt: u32,
        stream: Option<Py<PyString>>,
    ) -> PyResult<Self> {
        finite(time)?;
        Ok(Self { attempt, stream, ..self.at(py, sequence, time) })
    }

    #[staticmethod]
    #[pyo3(signature = (envelopes, sequence, time, max_size, max_hops, /))]
    fn admit<'py>(
        envelopes: &Bound<'py, PyAny>,
        sequence: u64,
        time: f64,
        max_size: usize,
        max_hops: u8,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let py = envelopes.py();
        finite(time)?;
        let mut placed: Vec<Bound<'py, Self>> = Vec::with_capacity(at_least(envelopes));
        let (mut place, mut total, mut alike) = (sequence, 0, true);
        each(envelopes, |envelope| {
            let envelope = envelope.get();
            total += envelope.check(py, time, max_size, max_hops)?;
            alike = alike && placed.first().map_or(Ok(true), |first| same(py, first.get(), envelope))?;
            placed.push(untracked(Bound::new(py, envelope.at(py, place, time))?));
            place = place
                .checked_add(1)
                .ok_or_else(|| PyOverflowError::new_err("no place is behind the last"))?;
            Ok(())
        })?;
        let placed = objects::list(py, placed.into_iter().map(Ok))?;
        let total = objects::int(py, total as u64)?;
        objects::triple(placed.as_any(), total.as_any(), PyBool::new(py, alike).as_any())
    }

    #[staticmethod]
    #[pyo3(signature = (envelopes, /))]
    fn measure(envelopes: &Bound<'_, PyAny>) -> PyResult<usize> {
        let mut total = 0;
        each(envelopes, |envelope| {
            total += envelope.get().size(envelope.py())?;
            Ok(())
        })?;
        Ok(total)
    }

    #[staticmethod]
    #[pyo3(signature = (batch_id, envelopes, /, *, msgpack = false))]
    fn pack<'py>(
        batch_id: u64,
        envelopes: &Bound<'py, PyAny>,
        msgpack: bool,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let py = envelopes.py();
        let envelopes = all(envelopes)?;
        let count = u32::try_from(envelopes.len())?;
        let mut parts = Vec::with_capacity(envelopes.len());
        let mut size = BATCH_HEAD;
        for envelope in &envelopes {
            let envelope = envelope.get();
            // Written now, if it was not yet: so nothing fails, or runs code of others, while the batch is half done.
            let (head, json) = (envelope.head(py)?, envelope.message.get().json(py)?);
            size += head.size() + json.len();
            parts.push((head, json));
        }
        let mut out = Vec::new();
        if out.try_reserve_exact(size).is_err() {
            return Err(pyo3::exceptions::PyMemoryError::new_err(()));
        }
        envelope::begin(&mut out, batch_id, count);
        for (head, json) in parts {
            let appended = if msgpack {
                envelope::append(&mut out, &head, Format::MessagePack, &message::msgpack::from_json(json))
            } else {
                envelope::append(&mut out, &head, Format::Json, json)
            };
            appended.map_err(|problem| error::head(py, head.subject(), problem))?;
        }
        objects::bytes(py, &out)
    }

    #[staticmethod]
    #[pyo3(signature = (data, *, max_envelopes = 4096, max_message = 1_048_576))]
    fn unpack<'py>(
        data: &Bound<'py, PyAny>,
        max_envelopes: usize,
        max_message: usize,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let py = data.py();
        let data = text::bytes(data, NOT_BYTES)?;
        let batch = Batch::open(data.as_bytes()).map_err(|fault| error::batch(py, fault))?;
        let (id, count) = (batch.id(), batch.len());
        if count > max_envelopes {
            return Err(error::too_many(py, count, max_envelopes));
        }
        let mut envelopes = Vec::with_capacity(count);
        for found in batch {
            let found = found.map_err(|fault| error::batch(py, fault))?;
            check_size(py, found.body.len(), max_message)?;
            let envelope = Self::found(py, &found)?;
            check_size(py, envelope.size(py)?, max_message)?;
            envelopes.push(Bound::new(py, envelope)?);
        }
        let envelopes = objects::list(py, envelopes.into_iter().map(Ok))?;
        objects::pair(objects::int(py, id)?.into_any(), envelopes.into_any())
    }

    #[staticmethod]
    fn subjects<'py>(data: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        let py = data.py();
        let data = text::bytes(data, NOT_BYTES)?;
        let batch = Batch::open(data.as_bytes()).map_err(|fault| error::batch(py, fault))?;
        let mut subjects = Vec::with_capacity(batch.len());
        for found in batch {
            let found = found.map_err(|fault| error::batch(py, fault))?;
            subjects.push(objects::text(py, found.head.subject())?);
        }
        objects::list(py, subjects.into_iter().map(Ok))
    }

    #[pyo3(signature = (subscription, /))]
    fn frame<'py>(&self, py: Python<'py>, subscription: u64) -> PyResult<Bound<'py, PyString>> {
        let json = self.message.get().json(py)?;
        let head = self.head(py)?;
        let mut out = Vec::new();
        if out.try_reserve(envelope::frame_bound(&head) + json.len()).is_err() {
            return Err(pyo3::exceptions::PyMemoryError::new_err(()));
        }
        envelope::write_frame(&mut out, subscription, &head, json);
        objects::utf8(py, &out)
    }

    fn __eq__(&self, py: Python<'_>, other: &Bound<'_, PyAny>) -> PyResult<bool> {
        let Ok(other) = other.cast::<Self>() else { return Ok(false) };
        for (mine, theirs) in self.fields(py)?.into_iter().zip(other.get().fields(py)?) {
            if !mine.eq(theirs)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        objects::tuple(py, self.fields(py)?.into_iter().map(Ok))?.hash()
    }

    fn __repr__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        let mut shown = String::from("Envelope(");
        for (name, field) in FIELDS.iter().zip(self.fields(py)?) {
            let comma = if shown.ends_with('(') { "" } else { ", " };
            let field = field.repr()?;
            shown.extend([comma, name, "=", &field.to_string_lossy()]);
        }
        shown.push(')');
        objects::text(py, &shown)
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let py = slf.py();
        let fields = objects::tuple(py, slf.get().fields(py)?.into_iter().map(Ok))?;
        objects::pair(slf.get_type().into_any(), fields.into_any())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.message)
    }
}

const NOT_BYTES: &str = "envelopes are unpacked from bytes";

const FIELDS: [&str; 7] = ["subject", "message", "reply", "sequence", "time", "attempt", "stream"];

impl Envelope {
    fn fields<'py>(&self, py: Python<'py>) -> PyResult<[Bound<'py, PyAny>; 7]> {
        Ok([
            self.subject.bind(py).clone().into_any(),
            self.message.bind(py).clone().into_any(),
            or_none(py, self.reply.as_ref()),
            objects::int(py, self.sequence)?.into_any(),
            objects::float(py, self.time)?,
            objects::int(py, self.attempt.into())?.into_any(),
            or_none(py, self.stream.as_ref()),
        ])
    }

    /// The same message at another place.
    fn at(&self, py: Python<'_>, sequence: u64, time: f64) -> Self {
        let reply = self.reply.as_ref().map(|reply| reply.clone_ref(py));
        let (subject, message) = (self.subject.clone_ref(py), self.message.clone_ref(py));
        Self { subject, message, reply, sequence, time, attempt: 1, stream: None }
    }

    /// Refuse what may not be published at `now`; how many bytes the message has.
    fn check(&self, py: Python<'_>, now: f64, max_size: usize, max_hops: u8) -> PyResult<usize> {
        if let Some(reply) = &self.reply
            && !subject::is_subject(reply.bind(py))?
        {
            return Err(error::no_reply(reply.bind(py)));
        }
        let message = self.message.get();
        let size = self.size(py)?;
        check_size(py, size, max_size)?;
        let (hops, deadline) = message.limits(py)?;
        // Who asks is to get an answer, which has one more.
        let hops = u16::from(hops) + u16::from(self.reply.is_some());
        if hops > max_hops.into() {
            return Err(error::too_many_hops(py, hops, max_hops));
        }
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Err(error::expired(py, message.id()));
        }
        Ok(size)
    }

    /// All of it but the message, as the kernel has it.
    fn head<'t>(&'t self, py: Python<'t>) -> PyResult<Head<'t>> {
        let part = |part: &'t Option<Py<PyString>>| part.as_ref().map_or(Ok(""), |text| text.to_str(py));
        let subject = self.subject.to_str(py)?;
        let (reply, stream) = (part(&self.reply)?, part(&self.stream)?);
        Head::new(subject, reply, stream, self.sequence, self.time, self.attempt).map_err(|problem| {
            let wrong = match problem {
                envelope::Problem::Reply(_) => reply,
                envelope::Problem::Stream => stream,
                _ => subject,
            };
            error::head(py, wrong, problem)
        })
    }

    fn found(py: Python<'_>, found: &Found<'_>) -> PyResult<Self> {
        let message = match found.format {
            Format::Json => {
                let text = Text::Bytes(objects::bytes(py, found.body)?.unbind());
                Message::received(py, text, |at| at + found.at)?
            }
            Format::MessagePack => Message::translated(py, found.body, found.at)?,
        };
        let named = |name: &str| match name {
            "" => Ok(None),
            name => Ok::<_, PyErr>(Some(objects::text(py, name)?.unbind())),
        };
        let head = &found.head;
        Ok(Self {
            subject: objects::text(py, head.subject())?.unbind(),
            message: Py::new(py, message)?,
            reply: named(head.reply())?,
            sequence: head.sequence(),
            time: head.time(),
            attempt: head.attempt(),
            stream: named(head.stream())?,
        })
    }
}

fn check_size(py: Python<'_>, size: usize, limit: usize) -> PyResult<()> {
    if size > limit { Err(error::message_too_large(py, size, limit)) } else { Ok(()) }
}

fn finite(time: f64) -> PyResult<()> {
    if time.is_finite() { Ok(()) } else { Err(error::not_acceptable("time", "finite")) }
}

fn or_none<'py>(py: Python<'py>, text: Option<&Py<PyString>>) -> Bound<'py, PyAny> {
    text.map_or_else(|| py.None().into_bound(py), |text| text.bind(py).clone().into_any())
}

/// The garbage collector passes it by: what is kept by the thousand for a while costs more to look at, again and again,
/// than it cost to make. It is in no cycle unless somebody ties one, through the content of its message.
fn untracked(envelope: Bound<'_, Envelope>) -> Bound<'_, Envelope> {
    // SAFETY: envelopes have a `__traverse__`, so they are of a type that the collector knows.
    unsafe { ffi::PyObject_GC_UnTrack(envelope.as_ptr().cast()) };
    envelope
}

/// Have both the same subject?
fn same(py: Python<'_>, one: &Envelope, other: &Envelope) -> PyResult<bool> {
    Ok(one.subject.is(&other.subject) || one.subject.bind(py).as_any().eq(&other.subject)?)
}

/// The envelopes of a list, or of something else that gives them out.
fn all<'py>(envelopes: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, Envelope>>> {
    let mut found = Vec::with_capacity(at_least(envelopes));
    each(envelopes, |envelope| {
        found.push(envelope);
        Ok(())
    })?;
    Ok(found)
}

/// How many there are, for sure: others than lists may say what they like.
fn at_least(envelopes: &Bound<'_, PyAny>) -> usize {
    envelopes.cast::<PyList>().map_or(0, PyListMethods::len)
}

/// Call `with` each of them.
fn each<'py>(
    envelopes: &Bound<'py, PyAny>,
    mut with: impl FnMut(Bound<'py, Envelope>) -> PyResult<()>,
) -> PyResult<()> {
    let mut item = |item: Bound<'py, PyAny>| {
        with(
            item.cast_into::<Envelope>()
                .map_err(|_| error::with_message::<PyTypeError>("not an Envelope"))?,
        )
    };
    match envelopes.cast::<PyList>() {
        Ok(list) => list.iter().try_for_each(item),
        Err(_) => envelopes.try_iter()?.try_for_each(|next| item(next?)),
    }
}
