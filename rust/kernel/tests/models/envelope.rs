//! Batches of envelopes by their layout, read number by number. Shared with the fuzz target `envelope`.

use tekton_kernel::envelope::{Batch, Fault, Format, Head, append, begin};
use tekton_kernel::message::is_identifier;
use tekton_kernel::subject::Subject;

/// An envelope, of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    pub subject: String,
    pub reply: String,
    pub stream: String,
    pub sequence: u64,
    pub time: f64,
    pub attempt: u32,
    pub packed: bool,
    pub body: Vec<u8>,
}

impl Envelope {
    fn is_sound(&self) -> bool {
        let is_subject = |text: &String| Subject::parse(text).is_ok();
        is_subject(&self.subject)
            && (self.reply.is_empty() || is_subject(&self.reply))
            && (self.stream.is_empty() || is_identifier(self.stream.as_bytes()))
            && self.time.is_finite()
    }

    /// As the kernel has it.
    ///
    /// # Panics
    /// When the kernel does not take it.
    pub fn head(&self) -> Head<'_> {
        let (subject, reply, stream) = (&self.subject, &self.reply, &self.stream);
        Head::new(subject, reply, stream, self.sequence, self.time, self.attempt).expect("it is sound")
    }
}

/// Bytes that get fewer.
struct Rest<'d>(&'d [u8]);

impl<'d> Rest<'d> {
    fn take(&mut self, length: u64) -> Option<&'d [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self, bytes: u64) -> Option<u64> {
        Some(self.take(bytes)?.iter().rev().fold(0, |number, byte| number * 256 + u64::from(*byte)))
    }

    fn text(&mut self, length: u64) -> Option<String> {
        String::from_utf8(self.take(length)?.to_vec()).ok()
    }
}

/// What a batch says.
pub fn read(data: &[u8]) -> Option<(u64, Vec<Envelope>)> {
    let mut rest = Rest(data);
    (rest.take(4)? == b"TKB\x01").then_some(())?;
    let (id, count) = (rest.number(8)?, rest.number(4)?);
    let mut envelopes = Vec::new();
    for _ in 0..count {
        let length = rest.number(4)?;
        envelopes.push(envelope(Rest(rest.take(length)?))?);
    }
    rest.0.is_empty().then_some((id, envelopes))
}

fn envelope(mut rest: Rest<'_>) -> Option<Envelope> {
    let (sequence, time, attempt) = (rest.number(8)?, f64::from_bits(rest.number(8)?), rest.number(4)?);
    let packed = match rest.number(1)? {
        0 => false,
        1 => true,
        _ => return None,
    };
    let lengths = [rest.number(1)?, rest.number(1)?, rest.number(1)?];
    let [subject, reply, stream] = lengths.map(|length| rest.text(length));
    let (subject, reply, stream, body) = (subject?, reply?, stream?, rest.0.to_vec());
    let attempt = u32::try_from(attempt).ok()?;
    let envelope = Envelope { subject, reply, stream, sequence, time, attempt, packed, body };
    envelope.is_sound().then_some(envelope)
}

/// A batch as the kernel writes it.
///
/// # Panics
/// When the kernel does not take one of them.
pub fn write(id: u64, envelopes: &[Envelope]) -> Vec<u8> {
    let mut out = Vec::new();
    begin(&mut out, id, u32::try_from(envelopes.len()).expect("few"));
    for envelope in envelopes {
        let format = if envelope.packed { Format::MessagePack } else { Format::Json };
        append(&mut out, &envelope.head(), format, &envelope.body).expect("it is short");
    }
    out
}

/// Any bytes are a batch or not, whoever reads them, and say the same; and are what is written of it.
///
/// # Panics
/// When not.
pub fn check(data: &[u8]) {
    let read = read(data);
    match found(data) {
        Ok(found) => assert_eq!(Some(&found), read.as_ref()),
        Err(fault) => {
            assert!(fault.at <= data.len());
            assert_eq!(read, None, "{fault:?}");
        }
    }
    if let Some((id, envelopes)) = read {
        assert_eq!(write(id, &envelopes), data);
    }
}

fn found(data: &[u8]) -> Result<(u64, Vec<Envelope>), Fault> {
    let batch = Batch::open(data)?;
    let id = batch.id();
    // Room is made for as many as are announced.
    assert!(batch.len() <= data.len() / 28);
    let envelopes = batch.map(|found| {
        found.map(|found| {
            assert_eq!(&data[found.at..found.at + found.body.len()], found.body);
            let head = found.head;
            Envelope {
                subject: head.subject().to_owned(),
                reply: head.reply().to_owned(),
                stream: head.stream().to_owned(),
                sequence: head.sequence(),
                time: head.time(),
                attempt: head.attempt(),
                packed: found.format == Format::MessagePack,
                body: found.body.to_vec(),
            }
        })
    });
    Ok((id, envelopes.collect::<Result<_, _>>()?))
}
