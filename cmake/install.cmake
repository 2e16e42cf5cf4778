# What `cmake --install` puts where. Everything is found relative to its neighbours, so that the
# folder may be moved. Components: `runtime` is libquern_runtime alone, `compiler` the rest that
# runs, `devel` what programs are built with.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/quern)
set(libraries quern_alone)
if(TARGET quern)
  list(APPEND libraries quern)
endif()
set_target_properties(quern_alone PROPERTIES EXPORT_NAME runtime)
foreach(target ${libraries})
  set(component compiler)
  if(target STREQUAL quern_alone)
    set(component runtime)
  endif()
  target_include_directories(${target} INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  install(TARGETS ${target} EXPORT ${target}_export
          LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT ${component} NAMELINK_COMPONENT devel)
  install(EXPORT ${target}_export FILE ${target}_targets.cmake NAMESPACE quern::
          DESTINATION ${package_dir} COMPONENT devel)
endforeach()
if(TARGET quern_llvm)
  install(TARGETS quern_llvm LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/quern COMPONENT compiler)
endif()
if(TARGET quern_tool)
  install(TARGETS quern_tool RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT compiler)
endif()
install(FILES include/quern.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT devel)

configure_file(cmake/quernConfig.cmake.in ${CMAKE_BINARY_DIR}/quernConfig.cmake @ONLY)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/quernConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/quernConfig.cmake ${CMAKE_BINARY_DIR}/quernConfigVersion.cmake
        DESTINATION ${package_dir} COMPONENT devel)

# As seen from the .pc files, which are asked where they are.
file(RELATIVE_PATH pc_to_prefix ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
function(quern_pkg_config name library description)
  configure_file(cmake/quern.pc.in ${CMAKE_BINARY_DIR}/${name}.pc @ONLY)
  install(FILES ${CMAKE_BINARY_DIR}/${name}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig
          COMPONENT devel)
endfunction()
quern_pkg_config(quern quern "Compiles ONNX models for the machine at hand and runs them")
quern_pkg_config(quern-runtime quern_runtime "Runs what libquern compiled, without a compiler")
