# Completion of the aaclip programs: options as their --help lists them, else files.
_aaclip()
{
    local current=${COMP_WORDS[COMP_CWORD]}
    COMPREPLY=()
    if [[ $current == -* ]]; then
        local options
        options=$("$1" --help 2>/dev/null | grep -E '^  --' |
            grep -oE '(^|  |, )--[a-z0-9][a-z0-9-]*' | tr -d ' ,' | sort -u)
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
    fi
}
complete -o default -F _aaclip aaclip-bench aaclip-convert aaclip-detect aaclip-evaluate \
    aaclip-generate aaclip-train
