//! An entry that does not say what it is.

mod handlers {
    pub mod greet {
        use postbox::service::{Context, HandlerResult};

        pub const COMMAND: &str = "greet";
        pub fn guard(_: &Context<'_, ()>) -> bool {
            true
        }
        pub async fn handle(_: &Context<'_, ()>) -> HandlerResult {
            Ok(serde_json::Value::Null)
        }
    }
}

fn main() {
    let _ = postbox::register_handlers!(
        postbox::service::Service::with_repo(()),
        command handlers::greet,
        handlers::greet,
    );
}
