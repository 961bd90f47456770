//! Any text as a configuration of an algorithm: an error or a configuration that survives its own JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rekindle_algorithms::PpoConfig;

fuzz_target!(|text: &str| {
    let Ok(config) = PpoConfig::from_json(text) else { return };
    let _ = config.validate();
    let json = serde_json::to_string(&config).expect("a configuration is data");
    let again = PpoConfig::from_json(&json).expect("its own JSON is valid");
    assert_eq!(serde_json::to_string(&again).expect("a configuration is data"), json);
});
