# To be sourced. The interpreters that other versions are tried with.

# python_of 3.10: the path of such an interpreter, from the PATH or among those of pyenv.
python_of() {
  local one
  for one in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python3; do
    if "$one" -c 'import venv' 2> /dev/null; then
      command -v "$one"
      return
    fi
  done
  echo "there is no Python $1 on the PATH" >&2
  return 1
}
