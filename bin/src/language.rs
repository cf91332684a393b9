//! English or Chinese, by the locale.

use konsort_node::Environment;

/// Language of everything this program says to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    /// The default.
    English,
    /// For locales that start with `zh`.
    Chinese,
}

impl Language {
    /// The language of the environment's locale (`LC_ALL`, `LC_MESSAGES`, `LANG`, in this order).
    pub(crate) fn of(environment: &Environment) -> Self {
        let locale = ["LC_ALL", "LC_MESSAGES", "LANG"]
            .into_iter()
            .find_map(|name| environment.get(name).filter(|value| !value.is_empty()))
            .unwrap_or_default();
        if locale.to_ascii_lowercase().starts_with("zh") { Self::Chinese } else { Self::English }
    }

    /// The text in this language.
    pub(crate) fn pick(self, english: &'static str, chinese: &'static str) -> &'static str {
        match self {
            Self::English => english,
            Self::Chinese => chinese,
        }
    }
}
