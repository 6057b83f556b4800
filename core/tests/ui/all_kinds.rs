//! Every kind of entry, by every kind of path, with and without trailing commas.

mod handlers {
    pub mod one {
        use postbox::service::{Context, HandlerResult};

        pub const COMMAND: &str = "one";
        pub const EVENT: &str = "one.done";
        pub const EVENTS: &[&str] = &["a", "b"];
        pub fn guard(_: &Context<'_, ()>) -> bool {
            true
        }
        pub async fn handle(_: &Context<'_, ()>) -> HandlerResult {
            Ok(serde_json::Value::Null)
        }
    }
}

fn main() {
    use postbox::service::Service;
    let service = postbox::register_handlers!(Service::with_repo(()), command crate::handlers::one);
    assert_eq!(service.subscription_plan().commands, ["one"]);
    let service = postbox::register_handlers!(
        Service::with_repo(()),
        event self::handlers::one,
        events handlers::one,
    );
    assert_eq!(service.subscription_plan().events, ["one.done", "a", "b"]);
    let _ = postbox::register_handlers!(Service::with_repo(()),);
    let _ = postbox::register_handlers!(Service::with_repo(()));
}
