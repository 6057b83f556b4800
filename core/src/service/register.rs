//! Registering handlers by the convention of their modules.

/// Registers handler modules with a service.
///
/// A module for one command exports `COMMAND: &str`, one for an event `EVENT: &str`, one for several
/// `EVENTS: &[&str]`; each exports `fn guard(&Context<'_, D>) -> bool` and
/// `async fn handle(&Context<'_, D>) -> HandlerResult`. Every entry says which it is.
///
/// ```
/// use postbox::service::{Context, HandlerResult, Service};
///
/// mod greet {
///     use super::*;
///     pub const COMMAND: &str = "greet";
///     pub fn guard(ctx: &Context<'_, ()>) -> bool {
///         ctx.has_fields(&["name"])
///     }
///     pub async fn handle(_: &Context<'_, ()>) -> HandlerResult {
///         Ok(serde_json::Value::Null)
///     }
/// }
/// mod audit {
///     use super::*;
///     pub const EVENTS: &[&str] = &["greeted", "left"];
///     pub fn guard(_: &Context<'_, ()>) -> bool {
///         true
///     }
///     pub async fn handle(_: &Context<'_, ()>) -> HandlerResult {
///         Ok(serde_json::Value::Null)
///     }
/// }
///
/// fn main() {
///     let service = postbox::register_handlers!(
///         Service::with_repo(()),
///         command greet,
///         events self::audit,
///     );
///     assert_eq!(service.subscription_plan().events, ["greeted", "left"]);
/// }
/// ```
///
/// ```compile_fail
/// # use postbox::service::Service;
/// // each entry says what it is
/// postbox::register_handlers!(Service::with_repo(()), handlers::greet);
/// ```
#[macro_export]
macro_rules! register_handlers {
    ($service:expr $(,)?) => {
        $service
    };
    ($service:expr, command $($module:ident)::+ $(, $($rest:tt)*)?) => {
        $crate::register_handlers!(
            $service
                .command($($module)::+::COMMAND)
                .guarded($($module)::+::guard, $($module)::+::handle),
            $($($rest)*)?
        )
    };
    ($service:expr, event $($module:ident)::+ $(, $($rest:tt)*)?) => {
        $crate::register_handlers!(
            $service
                .event($($module)::+::EVENT)
                .guarded($($module)::+::guard, $($module)::+::handle),
            $($($rest)*)?
        )
    };
    ($service:expr, events $($module:ident)::+ $(, $($rest:tt)*)?) => {
        $crate::register_handlers!(
            $service
                .events($($module)::+::EVENTS)
                .guarded($($module)::+::guard, $($module)::+::handle),
            $($($rest)*)?
        )
    };
    ($service:expr, $($bare:tt)+) => {
        ::core::compile_error!(::core::concat!(
            "say what each handler is: `command path::to::module`, `event path::to::module` or \
             `events path::to::module`; found `",
            ::core::stringify!($($bare)+),
            "`"
        ))
    };
}
