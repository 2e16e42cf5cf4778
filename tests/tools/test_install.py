#!/usr/bin/env python3
"""Installs the build into a temporary folder, moves it, and builds examples/first.c against it: with
pkg-config, with find_package, and with the library that has no compiler. Then runs each, and the
installed tool. Usage: test_install.py SOURCE BUILD COMPILER."""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest

SOURCE, BUILD, COMPILER = (os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]), sys.argv[3])
MODEL = os.path.join(SOURCE, "examples/digits/digits.onnx")
REFUSAL = "this library has no compiler"
PROJECT = """cmake_minimum_required(VERSION 3.25)
project(uses_quern C)
find_package(quern 0.1 REQUIRED COMPONENTS quern runtime)
add_executable(first first.c)
target_link_libraries(first PRIVATE quern::quern)
add_executable(first_runtime first.c)
target_link_libraries(first_runtime PRIVATE quern::runtime)
"""


def run(*command, env=None, code=0):
    """Standard output and error of a command that has to exit with `code`."""
    # Nothing of this build may help: neither folders nor flags of the caller.
    clean = {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": folder, **(env or {})}
    done = subprocess.run(command, env=clean, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    if done.returncode != code:
        raise AssertionError(f"{command}: exit {done.returncode}\n{done.stdout}")
    return done.stdout


def install(name, *options):
    """Installed under one name, used under another."""
    run("cmake", "--install", BUILD, "--prefix", os.path.join(folder, name + "-before"), *options)
    prefix = os.path.join(folder, name)
    os.rename(prefix + "-before", prefix)
    return prefix


def library_folder(prefix):
    for at, _, names in os.walk(prefix):
        if any(name.startswith("libquern") and ".so" in name for name in names):
            return at
    raise AssertionError("no library was installed")


def shared(prefix):
    return {"LD_LIBRARY_PATH": library_folder(prefix)}


def flags(prefix, package):
    env = {"PKG_CONFIG_PATH": os.path.join(library_folder(prefix), "pkgconfig")}
    return run("pkg-config", "--cflags", "--libs", package, env=env).split()


def build(prefix, package, example):
    program = os.path.join(folder, example + "-" + package)
    run(COMPILER, os.path.join(SOURCE, "examples", example + ".c"), "-o", program,
        *flags(prefix, package))
    return program


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.prefix = install("all")

    def test_pkg_config(self):
        out = run(build(self.prefix, "quern", "first"), MODEL, env=shared(self.prefix))
        self.assertEqual(out.count(" = "), 10, out)

    def test_runtime_says_that_it_has_no_compiler(self):
        program = build(self.prefix, "quern-runtime", "first")
        self.assertIn(REFUSAL, run(program, MODEL, env=shared(self.prefix), code=1))

    def test_runtime_runs_what_was_exported(self):
        """The same numbers from a saved program, where nothing of the compiler is installed."""
        first = run(build(self.prefix, "quern", "first"), MODEL, env=shared(self.prefix))
        program = build(self.prefix, "quern-runtime", "run_saved")
        saved = os.path.join(folder, "digits.qn")
        run(os.path.join(self.prefix, "bin", "quern"), "export", MODEL, "--dim", "N=1", "-o", saved)
        self.assertEqual(run(program, saved, env=shared(install("bare", "--component", "runtime"))),
                         first)
        self.assertIn("it is no pack", run(program, MODEL, env=shared(self.prefix), code=1))

    def test_find_package(self):
        project, build = os.path.join(folder, "project"), os.path.join(folder, "project-build")
        os.mkdir(project)
        shutil.copy(os.path.join(SOURCE, "examples/first.c"), project)
        with open(os.path.join(project, "CMakeLists.txt"), "w", encoding="utf-8") as file:
            file.write(PROJECT)
        run("cmake", "-S", project, "-B", build, "-DCMAKE_C_COMPILER=" + COMPILER,
            "-DCMAKE_PREFIX_PATH=" + self.prefix)
        run("cmake", "--build", build)
        self.assertEqual(run(os.path.join(build, "first"), MODEL).count(" = "), 10)
        self.assertIn(REFUSAL, run(os.path.join(build, "first_runtime"), MODEL, code=1))

    def test_missing_component(self):
        """Only the compiling library is asked for where only the other is."""
        prefix = install("half", "--component", "runtime")
        run("cmake", "--install", BUILD, "--prefix", prefix, "--component", "devel")
        os.remove(next(os.path.join(at, "quern_targets.cmake") for at, _, names in os.walk(prefix)
                       if "quern_targets.cmake" in names))
        project = os.path.join(folder, "asks")
        os.mkdir(project)
        with open(os.path.join(project, "CMakeLists.txt"), "w", encoding="utf-8") as file:
            file.write("cmake_minimum_required(VERSION 3.25)\nproject(p C)\n"
                       "find_package(quern REQUIRED COMPONENTS quern)\n")
        out = run("cmake", "-S", project, "-B", project, "-DCMAKE_PREFIX_PATH=" + prefix, code=1)
        self.assertIn("without its component 'quern'", " ".join(out.split()))

    def test_runtime_alone(self):
        """The component is one library and its names, nothing of the compiler."""
        prefix = install("alone", "--component", "runtime")
        files = [name for _, _, names in os.walk(prefix) for name in names]
        self.assertTrue(files)
        for name in files:
            self.assertTrue(name.startswith("libquern_runtime.so."), name)

    def test_tool(self):
        tool = os.path.join(self.prefix, "bin", "quern")
        self.assertIn("quern", run(tool, "--help"))
        out = run(tool, "run", MODEL, "--dim", "N=1", "--fill", "random", "--no-cache")
        self.assertTrue(out)

    def test_no_path_of_the_build(self):
        for at, _, names in os.walk(self.prefix):
            for name in names:
                with open(os.path.join(at, name), "rb") as file:
                    self.assertNotIn(SOURCE.encode() + b"/", file.read(), name)


with tempfile.TemporaryDirectory() as folder:
    program = unittest.main(argv=sys.argv[:1], exit=False)
sys.exit(not program.result.wasSuccessful())
