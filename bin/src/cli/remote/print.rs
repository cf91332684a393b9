//! Answers as tables and lines for people, as they are for programs.

use serde_json::Value;

use crate::cli::{Output, Surroundings};

/// Longest cell of a table, characters.
const WIDEST: usize = 48;

/// A list: a table of some columns, dotted names reaching into objects.
pub(super) fn list(items: &[Value], columns: &[&str], surroundings: Surroundings) {
    if surroundings.output == Output::Json {
        println!("{}", Value::Array(items.to_vec()));
        return;
    }
    if items.is_empty() {
        println!("{}", surroundings.language.pick("nothing yet", "暂无"));
        return;
    }
    let heads = columns.iter().map(|column| column.rsplit('.').next().unwrap_or(column).to_uppercase());
    let mut rows = vec![heads.collect::<Vec<_>>()];
    for item in items {
        rows.push(columns.iter().map(|column| cell(at(item, column))).collect());
    }
    let widths: Vec<usize> =
        (0..columns.len()).map(|column| rows.iter().map(|row| width(&row[column])).max().unwrap_or(0)).collect();
    for row in rows {
        let mut line = String::new();
        for (text, widest) in row.iter().zip(&widths) {
            line.push_str(text);
            line.push_str(&" ".repeat(widest - width(text) + 2));
        }
        println!("{}", line.trim_end());
    }
}

fn at<'a>(item: &'a Value, column: &str) -> &'a Value {
    column.split('.').fold(item, |value, part| &value[part])
}

/// Columns a terminal needs: Chinese characters take two.
fn width(text: &str) -> usize {
    text.chars().map(|c| if ('\u{1100}'..='\u{ffef}').contains(&c) { 2 } else { 1 }).sum()
}

fn cell(value: &Value) -> String {
    let text = line(value);
    let count = text.chars().count();
    if count <= WIDEST {
        return text;
    }
    let begin: String = text.chars().take(WIDEST / 2).collect();
    let end: String = text.chars().skip(count - WIDEST / 2 + 1).collect();
    format!("{begin}…{end}")
}

fn line(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        // What others wrote must not move the cursor or set colours.
        Value::String(text) => text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
        other => other.to_string(),
    }
}

/// One thing: a line per field; lines of a log as they are.
pub(super) fn show(value: &Value, surroundings: Surroundings) {
    if surroundings.output == Output::Json {
        println!("{value}");
        return;
    }
    match value {
        Value::Object(fields) if fields.get("lines").is_some_and(Value::is_array) => {
            for text in fields["lines"].as_array().map(Vec::as_slice).unwrap_or_default() {
                println!("{}", line(text));
            }
        }
        Value::Object(fields) => {
            let widest = fields.keys().map(|key| width(key)).max().unwrap_or(0);
            for (key, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
                let text = match value {
                    Value::Array(items) if items.iter().any(Value::is_object) => {
                        let items: Vec<String> = items.iter().map(|item| format!("\n  {}", line(item))).collect();
                        items.concat()
                    }
                    other => line(other),
                };
                println!("{key}{}  {text}", " ".repeat(widest - width(key)));
            }
        }
        Value::Null => {}
        Value::String(text) => {
            for text in text.lines() {
                println!("{}", line(&text.into()));
            }
        }
        other => println!("{other}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cells_are_cut_in_the_middle_and_chinese_is_wide() {
        assert_eq!(cell(&json!("a".repeat(100))).chars().count(), WIDEST);
        assert_eq!(width("会盟ab"), 6);
        assert_eq!(line(&json!("a\u{1b}[2Jb\nc")), "a [2Jb c");
        assert_eq!(at(&json!({ "a": { "b": 3 } }), "a.b"), &json!(3));
    }
}
