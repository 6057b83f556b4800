//! Old events in new shapes: chains of pure functions, checked before they run.

use alloc::string::String;

use serde_json::Value;

use crate::id::Excerpt;

/// Brings one event from one version of its shape to a later one.
///
/// The function gets the fields of the variant (what stands under its tag in JSON). The present version of
/// an event is the highest `to` of its upcasters, or 1 when it has none; new events are recorded with it.
///
/// ```
/// use postbox::aggregate::Upcaster;
/// use serde_json::{json, Value};
///
/// fn name_to_title(mut fields: Value) -> Result<Value, String> {
///     let name = fields.get("name").cloned().ok_or("no name")?;
///     fields["title"] = name;
///     Ok(fields)
/// }
/// const UPCASTERS: &[Upcaster] = &[Upcaster::new("Created", 1, 2, name_to_title)];
/// # let _ = UPCASTERS;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Upcaster {
    event: &'static str,
    from: u32,
    to: u32,
    upcast: fn(Value) -> Result<Value, String>,
}

impl Upcaster {
    /// Brings `event` from version `from` to version `to`.
    pub const fn new(
        event: &'static str,
        from: u32,
        to: u32,
        upcast: fn(Value) -> Result<Value, String>,
    ) -> Self {
        Self {
            event,
            from,
            to,
            upcast,
        }
    }
}

/// Upcasters that cannot work, or an event that one of them refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpcastError {
    /// From a version to itself.
    #[error("an upcaster of {event} goes from version {version} to itself")]
    SameVersion {
        /// Which event.
        event: &'static str,
        /// Which version.
        version: u32,
    },
    /// From a version to an earlier one.
    #[error("an upcaster of {event} goes backward, from version {from} to {to}")]
    Backward {
        /// Which event.
        event: &'static str,
        /// From.
        from: u32,
        /// To.
        to: u32,
    },
    /// A chain that comes back to where it was.
    #[error("the upcasters of {event} form a cycle through version {version}")]
    Cycle {
        /// Which event.
        event: String,
        /// Where it closes.
        version: u32,
    },
    /// No chain leads to the present version.
    #[error("no upcaster brings {event} from version {from} on to {to}")]
    Missing {
        /// Which event.
        event: String,
        /// Where the chain ends.
        from: u32,
        /// The present version.
        to: u32,
    },
    /// The stored version is later than this program knows.
    #[error("{event} was stored at version {stored}, this program knows version {known}")]
    Newer {
        /// Which event.
        event: String,
        /// As stored.
        stored: u32,
        /// As known.
        known: u32,
    },
    /// The stored event, or what an upcaster made of it, does not decode.
    #[error("{event} at version {version} does not decode: {reason}")]
    Undecodable {
        /// Which event.
        event: String,
        /// At which version.
        version: u32,
        /// Why.
        reason: Excerpt,
    },
}

/// The present version of an event's shape.
pub(super) fn present_version(upcasters: &[Upcaster], event: &str) -> u32 {
    upcasters
        .iter()
        .filter(|u| u.event == event)
        .map(|u| u.to)
        .max()
        .unwrap_or(1)
}

/// Brings the JSON of an event, tag included, from version `stored` to the present one. `None`: it is there.
pub(super) fn upcast(
    upcasters: &[Upcaster],
    event: &str,
    stored: u32,
    json: &[u8],
) -> Result<Option<Value>, UpcastError> {
    let present = present_version(upcasters, event);
    if stored == present {
        return Ok(None);
    }
    if stored > present {
        return Err(UpcastError::Newer {
            event: event.into(),
            stored,
            known: present,
        });
    }
    check(upcasters, event)?;
    let undecodable = |version, reason| UpcastError::Undecodable {
        event: event.into(),
        version,
        reason,
    };
    let tagged: Value =
        serde_json::from_slice(json).map_err(|error| undecodable(stored, Excerpt::display(&error)))?;
    let mut fields = match tagged {
        Value::Object(mut map) => map.remove(event).unwrap_or(Value::Null),
        _ => Value::Null,
    };
    let mut version = stored;
    while version != present {
        let step = upcasters.iter().find(|u| u.event == event && u.from == version);
        let step = step.ok_or_else(|| UpcastError::Missing {
            event: event.into(),
            from: version,
            to: present,
        })?;
        fields = (step.upcast)(fields).map_err(|reason| undecodable(version, Excerpt::new(&reason)))?;
        version = step.to;
    }
    let mut tagged = serde_json::Map::new();
    tagged.insert(event.into(), fields);
    Ok(Some(Value::Object(tagged)))
}

/// Refuses steps of an event that do not lead forward. Two that point at each other are a cycle; one that
/// only leads back is backward.
fn check(upcasters: &[Upcaster], event: &str) -> Result<(), UpcastError> {
    for step in upcasters.iter().filter(|u| u.event == event) {
        if step.from == step.to {
            return Err(UpcastError::SameVersion {
                event: step.event,
                version: step.from,
            });
        }
        let mut version = step.to;
        for _ in 0..upcasters.len() {
            if version == step.from {
                return Err(UpcastError::Cycle {
                    event: event.into(),
                    version,
                });
            }
            match upcasters.iter().find(|u| u.event == event && u.from == version) {
                Some(next) => version = next.to,
                None => break,
            }
        }
        if step.from > step.to {
            return Err(UpcastError::Backward {
                event: step.event,
                from: step.from,
                to: step.to,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "the shape of an upcaster")]
    fn add_one(fields: Value) -> Result<Value, String> {
        let n = fields.get("n").and_then(Value::as_i64).ok_or("no n")?;
        Ok(json!({ "n": n.saturating_add(1) }))
    }

    fn run(steps: &[Upcaster], stored: u32) -> Result<Option<Value>, UpcastError> {
        upcast(steps, "E", stored, br#"{"E":{"n":1}}"#)
    }

    #[test]
    fn steps_are_chained() {
        let steps = [
            Upcaster::new("E", 1, 2, add_one),
            Upcaster::new("E", 2, 4, add_one),
        ];
        assert_eq!(run(&steps, 1), Ok(Some(json!({"E": {"n": 3}}))));
        assert_eq!(run(&steps, 2), Ok(Some(json!({"E": {"n": 2}}))));
        assert_eq!(run(&steps, 4), Ok(None));
        assert!(matches!(
            run(&steps, 3),
            Err(UpcastError::Missing { from: 3, to: 4, .. })
        ));
        assert!(matches!(run(&steps, 5), Err(UpcastError::Newer { .. })));
    }

    #[test]
    fn same_version_backward_and_cyclic_steps_are_told_apart() {
        let up = |from, to| Upcaster::new("E", from, to, add_one);
        assert!(matches!(
            run(&[up(2, 2)], 1),
            Err(UpcastError::SameVersion { .. })
        ));
        assert!(matches!(
            run(&[up(1, 4), up(3, 2)], 1),
            Err(UpcastError::Backward { .. })
        ));
        assert!(matches!(
            run(&[up(1, 2), up(2, 3), up(3, 1)], 1),
            Err(UpcastError::Cycle { .. })
        ));
    }

    #[test]
    fn an_event_that_a_step_refuses_is_a_typed_error() {
        let steps = [Upcaster::new("E", 1, 2, add_one)];
        assert!(matches!(
            upcast(&steps, "E", 1, b"{\"E\":{}}"),
            Err(UpcastError::Undecodable { .. })
        ));
        assert!(matches!(
            upcast(&steps, "E", 1, b"\xff"),
            Err(UpcastError::Undecodable { .. })
        ));
    }
}
