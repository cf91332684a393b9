//! The part of an expression language that policy texts use: calls, names, texts and numbers.

use fabric_proto::common::SignaturePolicy;

use super::DslError;

/// Deeper nesting than this is refused, as the wire format's decoder would.
const MAX_DEPTH: usize = 40;

/// What an expression is worth.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Rule(SignaturePolicy),
    /// The table of principals.
    Table,
    Boolean,
}

impl Value {
    /// The name that upstream's texts give the type.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) => "string",
            Self::Integer(_) => "int",
            Self::Float(_) => "float64",
            Self::Rule(_) => "*common.SignaturePolicy",
            Self::Table => "*policydsl.context",
            Self::Boolean => "bool",
        }
    }
}

/// A function call with its arguments evaluated.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) name: String,
    pub(super) arguments: Vec<Value>,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Identifier,
    Number,
    Text,
    Operator,
    Bracket,
    Eof,
}

#[derive(Debug, Clone)]
struct Token {
    kind: Kind,
    value: String,
    /// In characters from the start.
    at: usize,
}

impl Token {
    fn describe(&self) -> String {
        let kind = match self.kind {
            Kind::Eof => return "EOF".into(),
            Kind::Identifier => "Identifier",
            Kind::Number => "Number",
            Kind::Text => "String",
            Kind::Operator => "Operator",
            Kind::Bracket => "Bracket",
        };
        format!("{kind}(\"{}\")", self.value.escape_debug())
    }
}

#[derive(Debug)]
enum Node {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean,
    Name { name: String, at: usize },
    Member(Box<Node>),
    Call { callee: Box<Node>, arguments: Vec<Node>, at: usize },
}

/// The message with the place marked in the source, as upstream prints it.
fn error_at(source: &str, at: usize, message: &str) -> DslError {
    if source.is_empty() {
        return DslError(message.to_owned());
    }
    // Positions count characters; a line break starts a new line of the source.
    let before: Vec<char> = source.chars().take(at).collect();
    let line = before.iter().filter(|character| **character == '\n').count();
    let column = before.iter().rev().take_while(|character| **character != '\n').count();
    let text = source.split('\n').nth(line).unwrap_or_default();
    DslError(format!("{message} ({}:{})\n | {text}\n | {}^", line + 1, column + 1, ".".repeat(column)))
}

fn lex(source: &str) -> Result<Vec<Token>, DslError> {
    let characters: Vec<char> = source.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < characters.len() {
        let first = characters[at];
        let start = at;
        if first.is_whitespace() {
            at += 1;
            continue;
        }
        let run = |from: usize, accept: &dyn Fn(char) -> bool| {
            from + characters[from..].iter().take_while(|character| accept(**character)).count()
        };
        let kind = if first.is_alphabetic() || first == '_' || first == '$' {
            at = run(at, &|character| character.is_alphanumeric() || character == '_' || character == '$');
            let word: String = characters[start..at].iter().collect();
            let operators =
                ["and", "or", "not", "in", "contains", "matches", "startsWith", "endsWith", "let", "if", "else"];
            if operators.contains(&word.as_str()) { Kind::Operator } else { Kind::Identifier }
        } else if first.is_ascii_digit() || (first == '.' && characters.get(at + 1).is_some_and(char::is_ascii_digit)) {
            at = run(at, &|character| character.is_ascii_alphanumeric() || character == '_' || character == '.');
            Kind::Number
        } else if matches!(first, '\'' | '"' | '`') {
            let (text, end) = text_literal(source, &characters, at)?;
            tokens.push(Token { kind: Kind::Text, value: text, at: start });
            at = end;
            continue;
        } else if "()[]{}".contains(first) {
            at += 1;
            Kind::Bracket
        } else if "+-*/%^=!<>&|?:.,;#@~".contains(first) {
            let pair: String = characters[at..].iter().take(2).collect();
            at += if ["**", "==", "!=", "<=", ">=", "&&", "||", "??", "?.", ".."].contains(&pair.as_str()) {
                2
            } else {
                1
            };
            Kind::Operator
        } else {
            let message = format!("unrecognized character: U+{:04X} {:?}", first as u32, first);
            return Err(error_at(source, at, &message));
        };
        tokens.push(Token { kind, value: characters[start..at].iter().collect(), at: start });
    }
    tokens.push(Token { kind: Kind::Eof, value: String::new(), at: characters.len().saturating_sub(1) });
    Ok(tokens)
}

fn text_literal(source: &str, characters: &[char], start: usize) -> Result<(String, usize), DslError> {
    let quote = characters[start];
    let mut text = String::new();
    let mut at = start + 1;
    while let Some(&character) = characters.get(at) {
        at += 1;
        if character == quote {
            return Ok((text, at));
        }
        if character == '\\' && quote != '`' {
            let escaped = characters.get(at).copied();
            at += 1;
            match escaped {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some('r') => text.push('\r'),
                Some(other @ ('\\' | '\'' | '"')) => text.push(other),
                _ => return Err(error_at(source, start, "invalid escape")),
            }
        } else {
            text.push(character);
        }
    }
    Err(error_at(source, start, "literal not terminated"))
}

struct Parser<'a> {
    source: &'a str,
    tokens: Vec<Token>,
    next: usize,
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        // The last token is always the end, and it is never taken.
        &self.tokens[self.next]
    }

    fn take(&mut self) -> Token {
        let token = self.peek().clone();
        if token.kind != Kind::Eof {
            self.next += 1;
        }
        token
    }

    fn is(&self, value: &str) -> bool {
        let token = self.peek();
        matches!(token.kind, Kind::Operator | Kind::Bracket) && token.value == value
    }

    fn unexpected<T>(&self) -> Result<T, DslError> {
        let token = self.peek();
        Err(error_at(self.source, token.at, &format!("unexpected token {}", token.describe())))
    }

    fn expression(&mut self, depth: usize) -> Result<Node, DslError> {
        if depth > MAX_DEPTH {
            return Err(error_at(self.source, self.peek().at, "policy is nested too deeply"));
        }
        let mut node = self.primary(depth)?;
        loop {
            if self.is("(") {
                let at = match &node {
                    Node::Name { at, .. } => *at,
                    _ => self.peek().at,
                };
                self.take();
                let mut arguments = Vec::new();
                while !self.is(")") {
                    if !arguments.is_empty() {
                        if !self.is(",") {
                            return self.unexpected();
                        }
                        self.take();
                        if self.is(")") {
                            break;
                        }
                    }
                    arguments.push(self.expression(depth + 1)?);
                }
                self.take();
                node = Node::Call { callee: Box::new(node), arguments, at };
            } else if self.is(".") {
                self.take();
                if self.peek().kind != Kind::Identifier {
                    return self.unexpected();
                }
                self.take();
                node = Node::Member(Box::new(node));
            } else {
                return Ok(node);
            }
        }
    }

    fn primary(&mut self, depth: usize) -> Result<Node, DslError> {
        if self.is("-") || self.is("+") {
            let negative = self.take().value == "-";
            return match self.expression(depth + 1)? {
                Node::Integer(number) => Ok(Node::Integer(if negative { number.wrapping_neg() } else { number })),
                Node::Float(number) => Ok(Node::Float(if negative { -number } else { number })),
                _ => Err(error_at(self.source, 0, "invalid operation: sign before something that is no number")),
            };
        }
        if self.is("(") {
            self.take();
            let node = self.expression(depth + 1)?;
            if !self.is(")") {
                return self.unexpected();
            }
            self.take();
            return Ok(node);
        }
        let token = self.peek().clone();
        match token.kind {
            Kind::Text => {
                self.take();
                Ok(Node::Text(token.value))
            }
            Kind::Number => {
                self.take();
                self.number(&token)
            }
            Kind::Identifier => {
                self.take();
                if matches!(token.value.as_str(), "true" | "false") {
                    return Ok(Node::Boolean);
                }
                Ok(Node::Name { name: token.value, at: token.at })
            }
            _ => self.unexpected(),
        }
    }

    fn number(&self, token: &Token) -> Result<Node, DslError> {
        let digits = token.value.replace('_', "");
        let parsed = if digits.contains(['.', 'e', 'E']) && !digits.starts_with("0x") {
            digits.parse().ok().map(Node::Float)
        } else {
            let radix =
                |prefix: &str, radix| digits.strip_prefix(prefix).map(|rest| i64::from_str_radix(rest, radix).ok());
            radix("0x", 16)
                .or_else(|| radix("0b", 2))
                .or_else(|| radix("0o", 8))
                .unwrap_or_else(|| digits.parse().ok())
                .map(Node::Integer)
        };
        parsed.ok_or_else(|| error_at(self.source, token.at, &format!("bad number syntax: \"{}\"", token.value)))
    }
}

/// Names are checked before anything is evaluated, from left to right.
fn check_names(source: &str, node: &Node, names: &[&str]) -> Result<(), DslError> {
    match node {
        Node::Name { name, at } if !names.contains(&name.as_str()) => {
            Err(error_at(source, *at, &format!("unknown name {name}")))
        }
        Node::Member(inner) => check_names(source, inner, names),
        Node::Call { callee, arguments, .. } => {
            check_names(source, callee, names)?;
            arguments.iter().try_for_each(|argument| check_names(source, argument, names))
        }
        _ => Ok(()),
    }
}

fn run(source: &str, node: Node, apply: &mut dyn FnMut(Call) -> Result<Value, String>) -> Result<Value, DslError> {
    Ok(match node {
        Node::Text(text) => Value::Text(text),
        Node::Integer(number) => Value::Integer(number),
        Node::Float(number) => Value::Float(number),
        Node::Boolean => Value::Boolean,
        Node::Name { name, at } => {
            if name != "ID" {
                return Err(error_at(source, at, &format!("{name} is a function; write its arguments in parentheses")));
            }
            Value::Table
        }
        Node::Member(_) => return Err(error_at(source, 0, "a policy has no members to choose")),
        Node::Call { callee, arguments, at } => {
            let Node::Name { name, .. } = *callee else {
                return Err(error_at(source, at, "only AND, OR and OutOf can be called"));
            };
            let arguments =
                arguments.into_iter().map(|argument| run(source, argument, apply)).collect::<Result<_, _>>()?;
            apply(Call { name, arguments }).map_err(|message| error_at(source, at, &message))?
        }
    })
}

/// Reads `source`, checks its names against `names` and evaluates it; calls are answered by `apply`.
pub(super) fn evaluate(
    source: &str,
    names: &[&str],
    apply: &mut dyn FnMut(Call) -> Result<Value, String>,
) -> Result<Value, DslError> {
    let mut parser = Parser { source, tokens: lex(source)?, next: 0 };
    let node = parser.expression(0)?;
    if parser.peek().kind != Kind::Eof {
        return parser.unexpected();
    }
    check_names(source, &node, names)?;
    run(source, node, apply)
}
