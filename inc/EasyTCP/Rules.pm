package EasyTCP::Rules;

# How the sources become objects, the module and the C unit tests: flags, and a rule for each file. Used
# by Makefile.PL only.
#
# A directory of csrc/ needs no row here: csrc/perl/ is the bridge, all others are the core.

use strict;
use warnings;

use Config;

# For linking the ordinary code of objects that have both.
my $NO_INLINING = '-fno-lto';

# probe: an EasyTCP::Probe, asked for what the compiler takes; define, inc, libs: flags for the libraries;
# optimize: the flags that the user wants instead of perl's own, or undef.
# Heeds EASYTCP_WERROR and EASYTCP_SANITIZE. Prints its decisions.
sub new {
    my ($class, %args) = @_;
    my $self = bless {
        inc       => $args{inc},
        libs      => $args{libs},
        define    => _flags('-D_GNU_SOURCE', $args{define}),    # core and bridge see the same types
        core      => [ sort grep { !m{\Acsrc/perl/} } glob 'csrc/*/*.c' ],
        headers   => [ sort grep { !m{\Acsrc/perl/} } glob 'csrc/*/*.h' ],
        bridge    => [ sort glob 'csrc/perl/*.c' ],
        c_tests   => [ sort glob 't/c/test_*.c' ],
        c_helpers => [ sort grep { !m{/test_} } glob 't/c/*.c' ],
    }, $class;
    $self->_choose_flags($args{probe});
    $self->_choose_inlining($args{probe}, $args{optimize});
    return $self;
}

sub _choose_flags {
    my ($self, $probe) = @_;
    $self->{c99} = _taken($probe, 'Flag for C99', '-std=c99');
    $self->{hidden} = _taken($probe, 'Flag to export nothing but the boot function', '-fvisibility=hidden');
    $self->{unshared} = _taken($probe, 'Flag to export nothing of static libraries',
        '-Wl,--exclude-libs,ALL');
    @$self{qw(warnings core_warnings sanitize)} = ('', '', '');
    if ($ENV{EASYTCP_WERROR}) {
        $self->{warnings} = '-Wall -Wextra -Werror';
        # perl.h fails these.
        $self->{core_warnings} = '-pedantic -Wshadow -Wconversion -Wstrict-prototypes -Wundef';
        # clang's -pedantic finds _Generic in macros of the C library: memchr, in glibc 2.43. Other compilers
        # take any flag that begins with -Wno, so that it is the warning that has to be asked for.
        $self->{core_warnings} .= ' -Wno-c11-extensions' if $probe->takes_flag('-Wc11-extensions');
        print "Warnings are errors, as EASYTCP_WERROR asks\n";
    }
    if ($ENV{EASYTCP_SANITIZE}) {
        $self->{sanitize} = '-fsanitize=address,undefined -fno-sanitize-recover=undefined '
            . '-fno-omit-frame-pointer';
        print "Sanitizers are built in, as EASYTCP_SANITIZE asks\n";
    }
}

# What a message passes through is many small functions in many files: inlined, they take 5 percent less.
# Objects have ordinary code beside, from which the C unit tests are linked. Not for debugging, where each
# function should be found.
sub _choose_inlining {
    my ($self, $probe, $optimize) = @_;
    my $flags = defined $optimize ? $optimize : $Config{optimize};
    $self->{inlining} = '';
    if ($self->{sanitize} || $flags !~ /-O[123s]/ || $Config{ccflags} =~ /-DDEBUGGING/) {
        print "Inlining across files: none, for debugging\n";
        return;
    }
    my %build = (shared => $Config{cccdlflags}, link => $Config{lddlflags}, plain => $NO_INLINING);
    for my $try ('-flto=auto -ffat-lto-objects', '-flto -ffat-lto-objects') {
        next if !$probe->links_library(%build, flags => "$flags $try");
        $self->{inlining} = $try;
        last;
    }
    print 'Inlining across files: ', $self->{inlining} || 'none', "\n";
}

# The flag, if the compiler takes it.
sub _taken {
    my ($probe, $what, $flag) = @_;
    my $taken = $probe->takes_flag($flag) ? $flag : '';
    print "$what: ", $taken || 'none', "\n";
    return $taken;
}

# The arguments of WriteMakefile that have to do with building.
sub arguments {
    my $self = shift;
    my @objects = _objects(@$self{qw(bridge core)});
    return (
        INC     => "-I. -Icsrc $self->{inc}",
        DEFINE  => $self->{define},
        LIBS    => [ $self->{libs} ],
        # Again, because perls older than the multiarch directories do not find there what the compiler does.
        dynamic_lib => { OTHERLDFLAGS => $self->{libs} },
        CCFLAGS     => _flags($Config{ccflags}, @$self{qw(sanitize warnings)}),
        LDDLFLAGS   => _flags($Config{lddlflags}, @$self{qw(unshared sanitize)}, $self->_link_inlining),
        OBJECT      => join(' ', 'EasyTCP$(OBJ_EXT)', @objects),
        XSPROTOARG  => '-noprototypes',
        test        => { TESTS => 't/*.t' },
        clean       => {
            FILES => join ' ', @objects, _objects(@$self{qw(c_tests c_helpers)}), _programs($self->{c_tests}),
                't/c/core$(LIB_EXT)',
        },
    );
}

# The linker compiles then.
sub _link_inlining {
    my $self = shift;
    return $self->{inlining} ? "\$(OPTIMIZE) $self->{inlining}" : ();
}

sub _flags {
    return join ' ', grep { length } @_;
}

sub _objects {
    return map { (my $object = $_) =~ s/\.c\z/\$(OBJ_EXT)/; $object } map { @$_ } @_;
}

sub _programs {
    return map { (my $program = $_) =~ s/\.c\z/\$(EXE_EXT)/; $program } map { @$_ } @_;
}

# The C unit tests are built before the tests run, so that t/05-c-units.t finds them.
sub amend_test {
    my ($self, $rules) = @_;
    $rules =~ s/^(test_(?:dynamic|static)\s*::?)/$1 c_tests/mg;
    return $rules;
}

# The text that is appended to Makefile.
sub postamble {
    my $self = shift;
    my $test_headers = join ' ', sort glob 't/c/*.h';
    return join '', $self->_variables, $self->_test_archive,
        # The core is compiled without Perl's include directory: it cannot see perl.h even by mistake.
        (map { _compile($_, '$(CORE_HEADERS)', '$(CORE_FLAGS)') } @{ $self->{core} }),
        (map { _compile($_, '$(CORE_HEADERS) $(BRIDGE_HEADERS)', '$(BRIDGE_FLAGS)') } @{ $self->{bridge} }),
        (map { _compile($_, "$test_headers \$(CORE_HEADERS)", '-It/c $(CORE_FLAGS)') }
            map { @$_ } @$self{qw(c_tests c_helpers)}),
        (map { _link_test($_) } @{ $self->{c_tests} });
}

sub _variables {
    my $self = shift;
    return <<"MAKE";
CORE_FLAGS = -Icsrc $self->{inc} $self->{define} \$(CCFLAGS) \$(OPTIMIZE) \$(CCCDLFLAGS) $self->{c99} \\
\t$self->{hidden} $self->{inlining} $self->{core_warnings}
BRIDGE_FLAGS = \$(INC) \$(CCFLAGS) \$(OPTIMIZE) \$(DEFINE_VERSION) \$(XS_DEFINE_VERSION) \\
\t\$(CCCDLFLAGS) "-I\$(PERL_INC)" \$(DEFINE) $self->{hidden} $self->{inlining}
CORE_OBJECTS = @{[ _objects($self->{core}) ]}
CORE_HEADERS = @{ $self->{headers} }
BRIDGE_HEADERS = @{[ sort glob 'csrc/perl/*.h' ]} ppport.h
C_TESTS = @{[ _programs($self->{c_tests}) ]}
C_TEST_ARCHIVE = t/c/core\$(LIB_EXT)
C_TEST_LIBS = @{[ _flags($self->{inlining} ? $NO_INLINING : '', $self->{libs}) ]}

EasyTCP\$(OBJ_EXT) : \$(CORE_HEADERS) \$(BRIDGE_HEADERS)

c_tests : \$(C_TESTS)
\t\$(NOECHO) \$(NOOP)

.PHONY : c_tests

MAKE
}

# The core and what the C unit tests share.
sub _test_archive {
    my $self = shift;
    my @helpers = _objects($self->{c_helpers});
    return <<"MAKE";
\$(C_TEST_ARCHIVE) : \$(CORE_OBJECTS) @helpers
\t\$(RM_F) \$\@
\t\$(AR) \$(AR_STATIC_ARGS) \$\@ \$(CORE_OBJECTS) @helpers
\t\$(RANLIB) \$\@

MAKE
}

# Each rule names its object, for the default rule would drop it in the top directory.
sub _compile {
    my ($source, $headers, $flags) = @_;
    my ($object) = _objects([$source]);
    return "$object : $source $headers\n\t\$(CC) -c $flags -o \$\@ $source\n\n";
}

sub _link_test {
    my $source = shift;
    my ($program, $object) = (_programs([$source]), _objects([$source]));
    return "$program : $object \$(C_TEST_ARCHIVE)\n"
        . "\tLD_RUN_PATH=\"\$(LD_RUN_PATH)\" \$(CC) \$(CCFLAGS) -o \$\@ $object"
        . " \$(C_TEST_ARCHIVE) \$(LDFLAGS) \$(C_TEST_LIBS)\n\n";
}

1;
