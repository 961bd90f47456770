//! Whether settings that were filled in from an algorithm's configuration have an effect.

use rekindle_catalog::{CatalogError, UnusedSetting};
use serde_json::Value;

use crate::error::{ModuleError, Result};

/// A module's use of a model config that was filled in
/// ([`RLModuleSpec::fill_model_config`](crate::RLModuleSpec::fill_model_config)).
///
/// Such settings are shared by all modules of an algorithm, so one module may leave some unused.
#[derive(Debug, Clone)]
pub(crate) struct ConfigUse {
    /// Type name of the module.
    pub(crate) module: String,
    /// Whether `setup` read the config.
    pub(crate) was_read: bool,
    /// Settings without effect on the module.
    pub(crate) unused: Vec<UnusedSetting>,
}

impl ConfigUse {
    /// Returns the config without the settings that the module does not use.
    pub(crate) fn used(&self, config: &Value) -> Value {
        let mut config = if self.was_read { config.clone() } else { Value::Null };
        if let Some(fields) = config.as_object_mut() {
            fields.retain(|field, _| self.unused.iter().all(|unused| unused.field != *field));
        }
        config
    }

    /// Checks that at least one of several modules uses each setting that was filled in.
    ///
    /// The sizes of MLPs may be left unused, with a warning: they may be set for
    /// environments of all kinds, and image environments do not use them.
    ///
    /// # Errors
    /// [`ModuleError::UnusedModelConfig`] if no module read the config;
    /// [`CatalogError::Inapplicable`] for the first setting that none of the readers uses.
    pub(crate) fn check(uses: &[Self]) -> Result<()> {
        let mut readers = uses.iter().filter(|config_use| config_use.was_read);
        let Some(first) = readers.next() else {
            return match uses.first() {
                Some(one) => Err(ModuleError::UnusedModelConfig { module: one.module.clone() }),
                None => Ok(()),
            };
        };
        let others: Vec<&Self> = readers.collect();
        let lacks = |reader: &Self, field: &str| reader.unused.iter().any(|u| u.field == field);
        for unused in &first.unused {
            if !others.iter().all(|other| lacks(other, &unused.field)) {
                continue;
            }
            if !["fcnet_", "vf_fcnet_"].iter().any(|group| unused.field.starts_with(group)) {
                return Err(CatalogError::from(unused.clone()).into());
            }
            let UnusedSetting { field, reason, .. } = unused;
            tracing::warn!(field, reason, "a model setting has no effect");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reader(unused: &[&str]) -> ConfigUse {
        let unused = unused.iter().map(|field| UnusedSetting::for_spaces(*field, "no such part"));
        ConfigUse { module: "M".into(), was_read: true, unused: unused.collect() }
    }

    #[test]
    fn a_setting_that_one_of_several_modules_uses_is_fine() {
        let uses = [reader(&["conv_filters"]), reader(&["fcnet_hiddens"])];
        ConfigUse::check(&uses).unwrap();
        let uses = [reader(&["conv_filters"]), reader(&["conv_filters"])];
        let message = ConfigUse::check(&uses).unwrap_err().to_string();
        assert!(message.contains("`conv_filters` does not apply"), "{message}");
        ConfigUse::check(&[reader(&["fcnet_hiddens"])]).unwrap();
    }

    #[test]
    fn a_config_that_no_module_reads_is_refused() {
        let deaf = ConfigUse { was_read: false, ..reader(&[]) };
        ConfigUse::check(&[deaf.clone(), reader(&[])]).unwrap();
        let message = ConfigUse::check(&[deaf]).unwrap_err().to_string();
        assert!(message.contains("`M` was given a model config"), "{message}");
    }

    #[test]
    fn a_module_records_the_settings_that_it_uses() {
        let config = json!({"fcnet_hiddens": [8], "conv_filters": null});
        let used = reader(&["conv_filters"]).used(&config);
        assert_eq!(used, json!({"fcnet_hiddens": [8]}));
        let deaf = ConfigUse { was_read: false, ..reader(&[]) };
        assert_eq!(deaf.used(&config), Value::Null);
    }
}
