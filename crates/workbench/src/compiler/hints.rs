//! What to do about the faults that beginners meet most: part of the compiler's message, English, Chinese.

const HINTS: [(&str, &str, &str); 23] = [
    (
        "File import callback not supported",
        "The imported file is not in the project: add it, or correct the path. Paths starting with ./ are relative to this file.",
        "项目中没有导入的文件:请添加该文件或更正路径。以 ./ 开头的路径相对于当前文件。",
    ),
    (
        "File not supplied initially",
        "The imported file is not in the project: add it, or correct the path. Paths starting with ./ are relative to this file.",
        "项目中没有导入的文件:请添加该文件或更正路径。以 ./ 开头的路径相对于当前文件。",
    ),
    (
        "requires different compiler version",
        "Change the pragma, or choose a compiler version that it allows.",
        "请修改 pragma,或选择它允许的编译器版本。",
    ),
    (
        "SPDX license identifier not provided",
        "Begin the file with a line such as // SPDX-License-Identifier: Apache-2.0",
        "请在文件第一行写上许可证,例如 // SPDX-License-Identifier: Apache-2.0",
    ),
    (
        "Undeclared identifier",
        "Check the spelling, or import the file that declares it.",
        "请检查拼写,或导入声明它的文件。",
    ),
    (
        "Identifier not found or not unique",
        "Check the type's name, or import the file that declares it.",
        "请检查类型名称,或导入声明它的文件。",
    ),
    ("Expected ';'", "A semicolon is missing before this place.", "此处之前缺少分号。"),
    (
        "Expected primary expression",
        "Something is missing here, or there is a sign too many.",
        "此处缺少表达式,或多了一个符号。",
    ),
    (
        "Data location must be",
        "Say where the value is: calldata for parameters of external functions, memory for copies, storage for state.",
        "请指明数据位置:外部函数参数用 calldata,副本用 memory,状态用 storage。",
    ),
    (
        "Stack too deep",
        "Use fewer variables at once: put some into a struct or a function of their own, or compile with via_ir.",
        "同时使用的局部变量过多:请放入结构体或拆成函数,或使用 via_ir 编译。",
    ),
    (
        "is not implicitly convertible to expected type",
        "Convert it explicitly, such as uint256(x) or payable(x), after checking that this is meant.",
        "请确认意图后显式转换,例如 uint256(x) 或 payable(x)。",
    ),
    (
        "should be marked as abstract",
        "Implement the missing functions, or write abstract contract.",
        "请实现缺少的函数,或写成 abstract contract。",
    ),
    (
        "function state mutability can be restricted",
        "Add view or pure as the message says: the function then counts as a read.",
        "请按提示加上 view 或 pure:该函数将被视为只读。",
    ),
    (
        "Function declared as view, but this expression (potentially) modifies the state",
        "Take view away, or do not write to state here.",
        "请去掉 view,或不要在此修改状态。",
    ),
    (
        "No visibility specified",
        "Write public, external, internal or private.",
        "请写明 public、external、internal 或 private。",
    ),
    (
        "Contract code size",
        "The chain refuses larger code: split the contract or raise the optimizer's effect with fewer runs.",
        "链会拒绝过大的代码:请拆分合约,或减小优化器 runs。",
    ),
    ("Unused local variable", "Remove it, or leave its name out.", "请删除,或去掉变量名。"),
    ("Unused function parameter", "Leave the parameter's name out.", "请去掉参数名。"),
    (
        "Member ",
        "Check the type of what stands before the dot: it has no such member.",
        "请检查点号前的类型:它没有该成员。",
    ),
    ("Wrong argument count", "Compare with the function's declaration.", "请对照函数声明。"),
    (
        "Overriding function is missing \"override\"",
        "Write override after the visibility.",
        "请在可见性之后写上 override。",
    ),
    (
        "trying to override non-virtual function",
        "Write virtual at the function of the base contract.",
        "请在基合约的函数上写 virtual。",
    ),
    (
        "Return argument type",
        "Convert the value, or change the type behind returns.",
        "请转换该值,或修改 returns 的类型。",
    ),
];

pub(super) fn hint(message: &str) -> (&'static str, &'static str) {
    HINTS
        .iter()
        .find(|(part, _, _)| message.contains(part))
        .map_or(("", ""), |(_, english, chinese)| (*english, *chinese))
}
