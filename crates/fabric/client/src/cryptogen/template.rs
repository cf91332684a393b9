//! The part of Go's text templates that configuration files use: fields between double braces.

/// A field and its value.
#[derive(Debug, Clone)]
pub(super) struct Field(pub(super) &'static str, pub(super) String);

/// Puts the fields in. `kind` names the data in errors, as upstream does.
pub(super) fn render(pattern: &str, kind: &str, fields: &[Field]) -> Result<String, String> {
    let mut out = String::with_capacity(pattern.len() + 32);
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((action, tail)) = after.split_once("}}") else {
            return Err("Error parsing template: template: parse:1: unclosed action".to_owned());
        };
        out.push_str(before);
        rest = tail;
        let mut action = action;
        if let Some(inner) = action.strip_prefix("- ") {
            out.truncate(out.trim_end().len());
            action = inner;
        }
        if let Some(inner) = action.strip_suffix(" -") {
            rest = rest.trim_start();
            action = inner;
        }
        let action = action.trim();
        if action.starts_with("/*") && action.ends_with("*/") {
            continue;
        }
        let Some(name) = action.strip_prefix('.') else {
            return Err(format!(
                "Error parsing template: template: parse:1: {action:?} is not supported, only fields such as {{{{.Hostname}}}}"
            ));
        };
        match fields.iter().find(|field| field.0 == name) {
            Some(field) => out.push_str(&field.1),
            None => {
                return Err(format!(
                    "Error executing template: template: parse:1: executing \"parse\" at <.{name}>: can't evaluate field \
                     {name} in type main.{kind}"
                ));
            }
        }
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_blanks_and_mistakes() {
        let fields = [Field("Hostname", "peer0".into()), Field("Domain", "a.b".into())];
        let render = |pattern| render(pattern, "SpecData", &fields);
        assert_eq!(render("{{.Hostname}}.{{ .Domain }}x"), Ok("peer0.a.bx".to_owned()));
        assert_eq!(render("a {{- .Hostname -}} b"), Ok("apeer0b".to_owned()));
        assert_eq!(render("plain"), Ok("plain".to_owned()));
        assert!(render("{{.Nothing}}").unwrap_err().contains("can't evaluate field Nothing in type main.SpecData"));
        assert!(render("{{.Hostname").unwrap_err().contains("unclosed action"));
        assert!(render("{{len .Hostname}}").is_err());
    }
}
