// A type without hooks, used as callbacks.
//
// expect: `MyCallbacks` does not implement `Callbacks`
// expect: implement `Callbacks` for `MyCallbacks`: every hook has a default

use rekindle::prelude::*;

pub struct MyCallbacks;

pub fn config() -> PpoConfig {
    PpoConfig::new().callbacks(MyCallbacks)
}
