//! Who says it to whom, and as part of what: the same for many messages, so its JSON is made once.

use super::is_identifier;
use crate::uuid;

/// The context of messages, ready to be put into them.
#[derive(Clone, Debug, PartialEq)]
pub struct Context {
    json: String,
    sender: (u16, u16),
    recipient: (u16, u16),
    trace_id: (u16, u16),
    parent: Option<u128>,
    deadline: Option<f64>,
    hops: u8,
}

/// This member cannot be what was given for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnIdentifier(pub &'static str);

impl Context {
    /// A context; an empty `recipient` or `trace_id` is none. A deadline must be finite.
    ///
    /// # Errors
    /// When one of the texts is not an [identifier](super::is_identifier), or the deadline not finite.
    pub fn new(
        sender: &str,
        recipient: &str,
        trace_id: &str,
        parent: Option<u128>,
        deadline: Option<f64>,
        hops: u8,
    ) -> Result<Self, NotAnIdentifier> {
        let checked = |name, text: &str| {
            if is_identifier(text.as_bytes()) { Ok(()) } else { Err(NotAnIdentifier(name)) }
        };
        checked("sender", sender)?;
        let mut json = String::with_capacity(96 + sender.len() + recipient.len() + trace_id.len());
        json.push_str("{\"sender\":\"");
        let sender = append(&mut json, sender);
        let mut given = |name, before, text: &str| {
            if text.is_empty() {
                return Ok((0, 0));
            }
            checked(name, text)?;
            json.push_str(before);
            Ok(append(&mut json, text))
        };
        let recipient = given("recipient", ",\"recipient\":\"", recipient)?;
        let trace_id = given("trace_id", ",\"trace_id\":\"", trace_id)?;
        if let Some(parent) = parent {
            json.push_str(",\"parent_id\":\"");
            json.push_str(&uuid::format(parent));
            json.push('"');
        }
        if let Some(deadline) = deadline {
            if !deadline.is_finite() {
                return Err(NotAnIdentifier("deadline"));
            }
            // The shortest decimal number that is this one.
            let number = format!("{deadline:?}");
            json.push_str(",\"deadline\":");
            json.push_str(&number);
        }
        if hops > 0 {
            json.push_str(",\"hops\":");
            json.push_str(&hops.to_string());
        }
        json.push('}');
        Ok(Self { json, sender, recipient, trace_id, parent, deadline, hops })
    }

    /// As JSON.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }

    /// Who sends.
    #[must_use]
    pub fn sender(&self) -> &str {
        self.part(self.sender)
    }

    /// Who is to have it; empty when nobody is named.
    #[must_use]
    pub fn recipient(&self) -> &str {
        self.part(self.recipient)
    }

    /// The trace; empty without one.
    #[must_use]
    pub fn trace_id(&self) -> &str {
        self.part(self.trace_id)
    }

    /// The message that has caused this one.
    #[must_use]
    pub const fn parent(&self) -> Option<u128> {
        self.parent
    }

    /// When nobody waits any longer.
    #[must_use]
    pub const fn deadline(&self) -> Option<f64> {
        self.deadline
    }

    /// How many messages caused one another before.
    #[must_use]
    pub const fn hops(&self) -> u8 {
        self.hops
    }

    fn part(&self, (start, end): (u16, u16)) -> &str {
        &self.json[start.into()..end.into()]
    }
}

/// Append `text`, which is short, and a quote.
fn append(json: &mut String, text: &str) -> (u16, u16) {
    let place = |json: &String| u16::try_from(json.len()).unwrap_or(u16::MAX);
    let start = place(json);
    json.push_str(text);
    let end = place(json);
    json.push('"');
    (start, end)
}
